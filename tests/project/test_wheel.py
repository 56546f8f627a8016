import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TRAINING_ONLY = {"onnx", "onnxscript", "torch", "torchvision"}
PARTS = ("export", "models", "pipelines", "protos", "serving", "ocella.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy that also holds what must stay out of it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in (*PARTS, "tests", "examples", "docs"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, source / part)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def requirements(dist: Distribution, extras: set[str]) -> set[tuple[str, frozenset[str]]]:
    """The ``(name, extras)`` that a distribution asks for here, with ``extras`` chosen."""
    parsed = [Requirement(text) for text in dist.requires or ()]
    chosen = [r for r in parsed if not r.marker or any(r.marker.evaluate({"extra": e}) for e in {"", *extras})]
    return {(canonicalize_name(r.name), frozenset(r.extras)) for r in chosen}


def everything_below(dist: Distribution, extras: set[str]) -> set[str]:
    """Names of all distributions that an install pulls in, by the metadata of those that are installed."""
    names: set[str] = set()
    waiting = requirements(dist, extras)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        seen.add((name, wanted))
        names.add(name)
        waiting |= requirements(distribution(name), set(wanted)) - seen
    return names


def wheel_metadata(wheel: Path) -> Distribution:
    return PathDistribution(zipfile.Path(wheel, "ocella-0.1.0.dist-info/"))


def test_top_level_names_are_the_four_packages_the_command_and_the_metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert top == {"export", "pipelines", "protos", "serving", "ocella.py", "ocella-0.1.0.dist-info"}


def test_the_wheel_holds_the_embedded_models_where_the_server_looks(wheel: Path):
    tracked = {path.relative_to(ROOT / "models").as_posix() for path in (ROOT / "models").rglob("*") if path.is_file()}
    packed = {name.removeprefix("serving/_models/") for name in zipfile.ZipFile(wheel).namelist() if "_models/" in name}
    assert packed == tracked != set()


def test_the_wheel_holds_every_tracked_file_of_its_packages(wheel: Path):
    listed = subprocess.run(
        ["git", "ls-files", *(part for part in PARTS[:6] if part != "models")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with zipfile.ZipFile(wheel) as archive:
        missing = {path for path in listed.splitlines() if (ROOT / path).exists()} - set(archive.namelist())
    assert missing == set()


@pytest.mark.parametrize("name", ["protos/ocella/v1/vision.proto", "protos/ocella/v1/vision_pb2.pyi"])
def test_protocol_files_travel_in_the_wheel(wheel: Path, name: str):
    assert name in zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("package", ["export", "pipelines", "protos", "serving"])
def test_packages_are_marked_as_typed(wheel: Path, package: str):
    assert f"{package}/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_serving_install_pulls_no_torch_and_no_onnx(wheel: Path):
    names = everything_below(wheel_metadata(wheel), {"cpu"})
    assert {"grpcio", "numpy", "onnxruntime", "opencv-python-headless"} <= names
    assert names & TRAINING_ONLY == set()


def test_import_extra_pulls_onnx_but_no_torch(wheel: Path):
    assert everything_below(wheel_metadata(wheel), {"cpu", "import"}) & TRAINING_ONLY == {"onnx"}


def test_no_extra_pulls_the_opencv_that_needs_a_desktop(wheel: Path):
    extras = set(wheel_metadata(wheel).metadata.get_all("Provides-Extra") or ())
    assert {"cpu", "gpu", "import", "export", "dev"} <= extras
    asked = {name for name, _ in requirements(wheel_metadata(wheel), extras)}
    assert {name for name in asked if "opencv" in name} == {"opencv-python-headless"}
    assert {name for name in everything_below(wheel_metadata(wheel), {"cpu", "export", "dev"}) if "opencv" in name} == {
        "opencv-python-headless"
    }


def test_every_requirement_has_a_floor_and_all_but_dated_ones_a_ceiling(wheel: Path):
    dated = {"imagecodecs", "ocella", "tifffile", "types-protobuf"}  # versions that are dates promise nothing
    for text in wheel_metadata(wheel).requires or ():
        requirement = Requirement(text)
        operators = {specifier.operator for specifier in requirement.specifier}
        wanted = set() if requirement.name in dated else {">=", "<"}
        assert wanted <= operators, text


@pytest.mark.slow
def test_fresh_serving_install_runs_the_command_without_torch(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "env", with_pip=True)
    home = {**os.environ, "HOME": str(tmp_path)}  # an empty cache of pulled models

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "env" / "bin" / program, *words]
        return subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, check=False)

    installed = run("python", "-m", "pip", "install", f"{wheel}[cpu]")
    assert installed.returncode == 0, installed.stderr
    assert run("python", "-m", "pip", "check").returncode == 0
    frozen = run("python", "-m", "pip", "list", "--format=freeze").stdout.splitlines()
    names = {canonicalize_name(re.split("==| @", line)[0]) for line in frozen}
    assert "onnxruntime" in names
    assert names & TRAINING_ONLY == set()

    assert "usage: ocella" in run("ocella", "--help").stdout
    for words, said in [
        (["health", "--server", "127.0.0.1:9"], "127.0.0.1:9"),  # port 9 discards; nothing listens there
        (["zoo", "pull", "u2netp"], "ocella[import]"),
    ]:
        failed = run("ocella", *words)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: ")
        assert said in failed.stderr
        assert failed.stderr.count("\n") == 1
