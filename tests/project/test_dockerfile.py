import re
import tomllib
from pathlib import Path

import pytest

import ocella
from deploy.image.dockerfile import Image, Stage, Step, assigned, image_of, read_stages, read_steps

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stages() -> tuple[Stage, ...]:
    return read_stages((ROOT / "Dockerfile").read_text())


@pytest.fixture
def image(stages: tuple[Stage, ...]) -> Image:
    return image_of(stages[-1])


def texts(stage: Stage, name: str) -> list[str]:
    return [step.text for step in stage.steps if step.name == name]


def test_both_stages_start_from_one_slim_debian_pinned_to_its_release(stages: tuple[Stage, ...]):
    assert [(stage.base, stage.name) for stage in stages] == [
        ("debian:trixie-slim", "build"),
        ("debian:trixie-slim", ""),
    ]


def test_the_runtime_is_an_argument_of_the_build_stage_and_cpu_by_default(stages: tuple[Stage, ...]):
    assert Step("ARG", "RUNTIME=cpu") in stages[0].steps
    assert any('".[${RUNTIME}]"' in text for text in texts(stages[0], "RUN"))


def test_the_server_is_not_root(image: Image):
    assert image.user == "10001:10001"


def test_the_image_installs_python_and_nothing_that_builds(stages: tuple[Stage, ...]):
    installed = [re.findall(r"--no-install-recommends ([\w -]+?) &&", text) for text in texts(stages[-1], "RUN")]
    assert installed == [["python3"]]
    assert texts(stages[-1], "COPY") == ["--from=build /opt/ocella /opt/ocella"]


def test_everything_copied_exists_and_is_let_through(stages: tuple[Stage, ...]):
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [word for text in texts(stages[0], "COPY") for word in text.split()[:-1]]
    assert sorted(copied) == sorted(let_through)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_everything_that_the_wheel_is_made_of_is_copied(stages: tuple[Stage, ...]):
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {word for text in texts(stages[0], "COPY") for word in text.split()[:-1]}
    assert {*targets["only-include"], *targets["force-include"]} <= copied


def test_its_command_and_the_options_of_it_exist(image: Image, capsys: pytest.CaptureFixture[str]):
    program, command, *options = image.command
    assert program == "ocella"
    assert ocella.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [word for word in options if word.startswith("--") and word not in shown] == []


def test_listening_on_every_interface_is_said_aloud(image: Image):
    words = image.command
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert "--insecure" in words


def test_the_health_check_asks_the_port_that_is_exposed(stages: tuple[Stage, ...], image: Image):
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)/readyz", " ".join(image.healthcheck))
    assert len(asked) == 1
    assert asked[0] in texts(stages[-1], "EXPOSE")[0].split()


def test_the_labels_name_the_version_and_the_licence_of_the_project(stages: tuple[Stage, ...]):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (step,) = [step for step in stages[-1].steps if step.name == "LABEL"]
    labels = assigned(step, {"REVISION": "abc"})
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.revision"] == "abc"


def test_no_step_before_the_sources_changes_with_them(stages: tuple[Stage, ...]):
    # What the registry of layers may keep: the system packages come before the first COPY.
    names = [step.name for step in read_steps((ROOT / "Dockerfile").read_text())]
    assert names.index("RUN") < names.index("COPY")
