import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ocella

ROOT = Path(__file__).parents[2]
VERBS = [
    "install",
    "protos",
    "lint",
    "test",
    "coverage",
    "test-all",
    "test-gpu",
    "bench",
    "serve",
    "run",
    "image",
    "audit",
]
PAGES = ["README.md", "CHANGELOG.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/*.md")))]
PLANNED = {"docs/architecture.md"}  # says where things will be, too
MADE_AT_RUN_TIME = (".venv", "out", "my-", "deploy.toml")


def tracked_texts() -> dict[str, str]:
    """All text files that git knows or would take, by path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    texts = {}
    for name in listed:
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in data:
            texts[name] = data.decode()
    return texts


def paths_named_in(text: str) -> set[str]:
    """Targets of relative links, and words in backticks that look like paths of this project."""
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    words = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:py|md|toml))`", text))
    return {path for path in links | words if path and not path.startswith(MADE_AT_RUN_TIME)}


@pytest.mark.parametrize("page", sorted(set(PAGES) - PLANNED))
def test_every_path_that_a_page_names_exists(page: str):
    named = paths_named_in((ROOT / page).read_text())
    assert [
        path
        for path in sorted(named)
        if not (ROOT / path).exists() and not (ROOT / page).parent.joinpath(path).exists()
    ] == []


def test_the_readme_names_paths_at_all():
    assert {"LICENSE", "examples/CREDITS.md"} <= paths_named_in((ROOT / "README.md").read_text()) | {"LICENSE"}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_exists(page: str):
    text = (ROOT / page).read_text()
    assert set(re.findall(r"[`\n]ocella ([a-z]+)", text)) - set(ocella.COMMANDS) == set()
    assert set(re.findall(r"[`\n]make ([a-z-]+)", text)) - set(VERBS) == set()


def commands_shown_in(text: str) -> list[list[str]]:
    """The words of each `ocella` line of the shell blocks, continued lines joined, comments dropped."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("ocella ")]


@pytest.mark.parametrize("words", commands_shown_in((ROOT / "README.md").read_text()), ids=" ".join)
def test_every_option_that_the_readme_shows_exists(words: list[str]):
    options = [word for word in words if word.startswith("--")]
    wide = {**os.environ, "COLUMNS": "300"}  # so that help shortens no name
    shown = subprocess.run(
        [sys.executable, "-m", "ocella", words[0], "--help"],
        cwd=ROOT,
        env=wide,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [option for option in options if f"{option} " not in shown] == []


def test_the_readme_names_what_the_makefile_needs_and_where_make_serve_listens():
    start = (ROOT / "README.md").read_text().split("## Serve your own model")[0]
    assert "apt install make python3-venv" in start
    assert {"8001", "8000"} <= set(re.findall(r"\d+", start))


def test_the_makefile_has_exactly_its_verbs():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert phony[1].split() == VERBS


def test_ci_runs_the_test_command_of_the_readme():
    assert "make test\n" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_the_changelog_has_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_each_sample_image_has_its_credit():
    credits_page = (ROOT / "examples" / "CREDITS.md").read_text()
    images = sorted(path.name for path in (ROOT / "examples" / "images").iterdir())
    assert images != []
    assert [name for name in images if f"`images/{name}`" not in credits_page] == []


def test_no_text_names_a_machine_or_a_registry():
    # Put together here, so that this file does not name them either.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "docker" + ".io"]
    folders = [
        "/".join(["", first, ""]) for first in ("work", "root", "opt" + "/pypi", "home" + "/user", "tmp" + "/wheels")
    ]
    found = [f"{name}: {word}" for name, text in tracked_texts().items() for word in (*hosts, *folders) if word in text]
    assert found == []
