import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.image.dockerfile import (
    DockerfileError,
    Stage,
    Step,
    assigned,
    declared,
    image_of,
    read_stages,
    read_steps,
    substitute,
)
from deploy.image.prove import missing

ROOT = Path(__file__).parents[2]
WHOLE = """
# comment
ARG RELEASE=one
FROM base:${RELEASE} AS build
RUN first \\
    # a comment between
    && second
FROM base:$RELEASE
ENV A=1 B="two words"
USER 5:6
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1s CMD ["check", "me"]
ENTRYPOINT ["run"]
CMD ["--all", "x"]
"""


def test_continued_lines_are_one_step_and_comments_are_none():
    assert read_steps("RUN a \\\n  # no\n  && b\n# no\nuser 1:2\n") == [Step("RUN", "a && b"), Step("USER", "1:2")]


def test_stages_know_their_bases_names_and_steps():
    build, last = read_stages(WHOLE, {"RELEASE": "two"})
    assert (build.base, build.name, build.steps) == ("base:two", "build", (Step("RUN", "first && second"),))
    assert (last.base, last.name) == ("base:two", "")


def test_an_image_is_what_its_last_stage_says():
    image = image_of(read_stages(WHOLE)[-1])
    assert image.command == ("run", "--all", "x")
    assert image.healthcheck == ("check", "me")
    assert (image.user, image.stop_signal) == ("5:6", "SIGTERM")
    assert image.environment["B"] == "two words"
    assert "PATH" in image.environment


def test_an_image_that_does_not_say_its_user_is_refused():
    with pytest.raises(DockerfileError, match="must say USER"):
        image_of(Stage("base", "", (Step("CMD", '["x"]'),)))


def test_a_step_before_the_first_stage_is_refused():
    with pytest.raises(DockerfileError, match="only ARG may stand before the first FROM, got RUN"):
        read_stages("RUN x\nFROM y\n")


def test_the_builds_arguments_win_over_defaults():
    assert declared(Step("ARG", "A=1"), {"A": "2"}) == {"A": "2"}
    assert declared(Step("ARG", "A=1"), {}) == {"A": "1"}
    assert declared(Step("ARG", "A"), {}) == {}


def test_variables_are_put_in_and_unknown_ones_refused():
    assert substitute("$A-${B}", {"A": "1", "B": "2"}) == "1-2"
    with pytest.raises(DockerfileError, match="variable C must be declared"):
        substitute("$C", {})


def test_the_old_form_of_env_is_refused():
    with pytest.raises(DockerfileError, match="must be written as name=value"):
        assigned(Step("ENV", "A 1"), {})


@pytest.mark.slow
def test_the_image_serves_from_a_read_only_root_without_root():
    """Every line of the Dockerfile carried out, the server asked from outside, stopped, and what it weighs."""
    if reason := missing():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "deploy.image.prove", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    sizes = json.loads(done.stdout.splitlines()[-1])
    page = (ROOT / "docs" / "deploy.md").read_text()
    said = re.search(r"(\d+) MB unpacked, (\d+) MB packed", page)
    assert said is not None
    # Releases of the packages inside come and go; a figure that is off by more than this is no longer true.
    assert sizes["unpacked"] / 1e6 == pytest.approx(int(said[1]), rel=0.15)
    assert sizes["packed"] / 1e6 == pytest.approx(int(said[2]), rel=0.15)


def test_without_root_the_proof_says_that_it_needs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert missing() == "the image's proof needs root: it mounts, and changes its root"


def test_without_its_tools_the_proof_names_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "needs debootstrap, unshare" in (missing() or "")
