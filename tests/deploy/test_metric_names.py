"""Dashboard, alerts, manifests and the page on metrics name what the server tells, and the page names all of it."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client import Metric

from serving.gpus import GAUGES, INFO
from serving.metrics import Metrics
from tests.deploy.watched import DEPLOY, PAGE, PROMETHEUS, SELECTOR, alerts, dashboard, panels, queries

NAME = re.compile(r"\bocella_[a-z0-9_]*[a-z0-9]\b")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
# Of the process itself, which prometheus-client tells on Linux; `up` is Prometheus' own.
OF_PROCESS = re.compile(r"process_(resident_memory_bytes|cpu_seconds_total|open_fds|max_fds|start_time_seconds)|up")


def families() -> dict[str, Metric]:
    """Our families by their name on the page."""
    found = {}
    for family in Metrics().registry.collect():
        if family.name.startswith("ocella_"):
            found[family.name + ("_total" if family.type == "counter" else "")] = family
    return found


def told() -> set[str]:
    """Every name of a series that a server may tell."""
    ours = {name.removesuffix("_total") + end for name, of in families().items() for end in SUFFIXES[of.type]}
    return ours | gpu_names()


def gpu_names() -> set[str]:
    return {INFO, *(gauge.name for gauge in GAUGES)}


def rows() -> Iterator[tuple[str, str, str]]:
    """Name, type and labels of each row of the page's tables."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `ocella_"):
            yield cells[0].strip("`"), cells[1], cells[2]


def names_in(expression: str) -> set[str]:
    return {selector.partition("{")[0] for selector in SELECTOR.findall(expression)}


@pytest.mark.parametrize(("title", "expression"), list(queries()))
def test_a_panel_asks_for_series_that_exist(title: str, expression: str):
    names = names_in(expression)
    assert names
    unknown = {name for name in names - told() if not OF_PROCESS.fullmatch(name)}
    assert unknown <= {"python_gc_collections_total"}, title


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_series_that_exist(rule: dict[str, object]):
    names = names_in(str(rule["expr"]))
    assert names
    assert not {name for name in names - told() if not OF_PROCESS.fullmatch(name)}


def test_kubernetes_manifests_name_series_that_exist():
    found = {
        name
        for path in (*DEPLOY.rglob("k8s/*.yaml"), *DEPLOY.rglob("kserve/*.yaml"))
        for name in NAME.findall(path.read_text())
    }
    assert found <= told()


def test_the_page_has_a_row_for_each_metric_and_no_other():
    assert sorted(name for name, _, _ in rows()) == sorted({*families(), *gpu_names()})


def test_the_page_gives_each_metric_its_type():
    types = {name: of.type for name, of in families().items()} | dict.fromkeys(gpu_names(), "gauge")
    assert {name: kind for name, kind, _ in rows()} == types


def test_the_page_names_no_series_that_does_not_exist():
    page = set(NAME.findall(PAGE.read_text()))
    named = {name for name in page - told() - set(families()) if not name.startswith("ocella_batch_")}
    assert not named


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_own_section_of_the_page(rule: dict[str, dict[str, str]]):
    name = str(rule["alert"])
    assert rule["annotations"]["runbook"] == f"docs/metrics.md#{name.lower()}"
    assert f"\n### {name}\n" in PAGE.read_text()


def test_the_page_has_sections_of_no_other_alerts():
    sections = re.findall(r"^### (Ocella\w+)$", PAGE.read_text(), re.M)
    assert sections == [rule["alert"] for rule in alerts()]


def test_each_alert_is_tested_where_it_fires_and_where_it_does_not():
    text = (PROMETHEUS / "alerts_test.yml").read_text()
    for rule in alerts():
        tests = re.findall(rf"alertname: {rule['alert']}\n +exp_alerts:( \[\])?", text)
        assert "" in tests, f"{rule['alert']} never fires"
        assert " []" in tests, f"{rule['alert']} always fires"


def test_every_metric_is_seen_on_the_dashboard():
    seen = {name for _, expression in queries() for name in names_in(expression)}
    series = {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen}
    assert {*families(), *gpu_names()} - series == {INFO}


def test_panels_lie_beside_each_other():
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for column in range(place["x"], place["x"] + place["w"]):
            for line in range(place["y"], place["y"] + place["h"]):
                assert (column, line) not in taken, (panel["title"], taken.get((column, line)))
                taken[column, line] = panel["title"]


def test_panels_have_ids_of_their_own_and_say_what_they_show():
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])


def test_the_panels_that_the_page_names_are_on_the_dashboard():
    named = set(re.findall(r"(?<![*\w])\*([^*\n]+)\*(?!\*)", PAGE.read_text()))
    assert named
    assert named <= {panel["title"] for panel in panels()}
