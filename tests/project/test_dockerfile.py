import json
import re
from pathlib import Path

import pytest

import ocella

ROOT = Path(__file__).parents[2]


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as ``(instruction, rest)`` with comments dropped and continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def last(instructions: list[tuple[str, str]], name: str) -> str:
    return [rest for instruction, rest in instructions if instruction == name][-1]


def test_there_are_two_slim_stages(instructions: list[tuple[str, str]]):
    stages = [rest for name, rest in instructions if name == "FROM"]
    assert stages == ["python:${PYTHON}-slim AS build", "python:${PYTHON}-slim"]


def test_the_runtime_is_an_argument_of_the_build_stage_and_cpu_by_default(instructions: list[tuple[str, str]]):
    assert ("ARG", "RUNTIME=cpu") in instructions
    assert any(name == "RUN" and '".[${RUNTIME}]"' in rest for name, rest in instructions)


def test_the_server_is_not_root(instructions: list[tuple[str, str]]):
    assert last(instructions, "USER") == "10001:10001"


def test_everything_copied_exists_and_is_let_through(instructions: list[tuple[str, str]]):
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        word for name, rest in instructions if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_through)
    assert [path for path in copied if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["CMD", "HEALTHCHECK"])
def test_its_commands_and_their_options_exist(
    name: str, instructions: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
):
    rest = last(instructions, name)
    words: list[str] = json.loads(rest[rest.index("[") :])
    command, *options = words if name == "CMD" else words[1:]
    assert ocella.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [word for word in options if word.startswith("--") and word not in shown] == []


def test_listening_on_every_interface_is_said_aloud(instructions: list[tuple[str, str]]):
    words: list[str] = json.loads(last(instructions, "CMD"))
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert "--insecure" in words
