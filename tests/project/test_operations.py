import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from serving.cli import serve
from serving.settings import Settings
from tests.deploy.stopping import BEYOND_GRACE_S, LAST_ANSWERS_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SET_BY_THE_SUPERVISOR = {"member", "member_of"}
OF_ANOTHER_NAME = {"ray_address": "--address"}
ONLY_AN_OPTION = {"--plan", "--ray"}


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each row of the tables whose first cell names a setting, by that setting."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    named = [(re.search(r"`OCELLA_(\w+)`", row[0]), row) for row in cells]
    return {name[1].lower(): row for name, row in named if name}


def written(default: Any) -> str:
    """A default as the page writes it."""
    match default:
        case None:
            return "none"
        case False:
            return "off"
        case ():
            return "built in"
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def options() -> set[str]:
    """The options of ``ocella serve``."""
    app = typer.Typer(add_completion=False)
    app.command()(serve)
    return {option for parameter in typer.main.get_command(app).params for option in parameter.opts} - {"--help"}


def test_every_setting_has_one_row():
    assert set(rows(PAGE)) == set(Settings.model_fields) - SET_BY_THE_SUPERVISOR
    assert len(re.findall(r"^\|[^|]*`OCELLA_\w+`", PAGE, re.MULTILINE)) == len(rows(PAGE))


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - SET_BY_THE_SUPERVISOR))
def test_each_row_says_the_default(name: str):
    assert rows(PAGE)[name][1] == written(Settings.model_fields[name].default)


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - SET_BY_THE_SUPERVISOR))
def test_each_row_names_the_option_where_there_is_one(name: str):
    option = OF_ANOTHER_NAME.get(name, f"--{name.replace('_', '-')}")
    assert re.findall(r"`(--[a-z-]+)", rows(PAGE)[name][0]) == [option] * (option in options())


def test_every_option_of_the_command_is_on_the_page():
    in_tables = set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))
    assert options() == in_tables
    assert {option for option in in_tables if f"| `{option}` |" in PAGE} == ONLY_AN_OPTION


def test_every_alert_has_its_row_and_no_other_has():
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert re.findall(r"^\| `(Ocella\w+)`", PAGE, re.MULTILINE) == alerts


def test_the_page_says_how_long_a_stop_takes_at_most():
    assert f"and {LAST_ANSWERS_S:g} s at most:" in PAGE
    assert f"| a receiver of traces that does not answer: {BEYOND_GRACE_S:g} in all |" in PAGE


def test_the_page_on_containers_lets_docker_wait_longer_than_that():
    (wait_s,) = re.findall(r"docker stop --time (\d+)", (ROOT / "docs" / "deploy.md").read_text())
    assert int(wait_s) > Settings().grace_s + BEYOND_GRACE_S
