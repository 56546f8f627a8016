import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from typing import Any

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
    dated = {
        "grafana-foundation-sdk",
        "imagecodecs",
        "ocella",
        "tifffile",
        "types-protobuf",
    }  # versions that are dates promise nothing
    for text in wheel_metadata(wheel).requires or ():
        requirement = Requirement(text)
        operators = {specifier.operator for specifier in requirement.specifier}
        wanted = set() if requirement.name in dated else {">=", "<"}
        assert wanted <= operators, text


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment of its own that holds the wheel with ``cpu`` and what that asks for."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cpu]"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return programs


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, Any]:
    """Where its programs run: away from the sources, with an empty cache of pulled models."""
    return {"cwd": tmp_path, "env": {**os.environ, "HOME": str(tmp_path)}, "text": True}


@pytest.mark.slow
def test_fresh_serving_install_runs_the_command_without_torch(fresh: Path, elsewhere: dict[str, Any]):
    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([fresh / program, *words], capture_output=True, check=False, **elsewhere)

    assert run("python", "-m", "pip", "check").returncode == 0
    frozen = run("python", "-m", "pip", "list", "--format=freeze").stdout.splitlines()
    names = {canonicalize_name(re.split("==| @", line)[0]) for line in frozen}
    assert "onnxruntime" in names
    assert names & TRAINING_ONLY == set()

    assert "usage: ocella" in run("ocella", "--help").stdout
    assert run("ocella", "doctor").returncode == 0
    for words, said in [
        (["health", "--server", "127.0.0.1:9"], "127.0.0.1:9"),  # port 9 discards; nothing listens there
        (["zoo", "pull", "u2netp"], "ocella[import]"),
    ]:
        failed = run("ocella", *words)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: ")
        assert said in failed.stderr
        assert failed.stderr.count("\n") == 1


@pytest.mark.slow
def test_fresh_serving_install_serves_its_own_models(fresh: Path, elsewhere: dict[str, Any]):
    digit = ROOT / "models" / "digits" / "1" / "golden" / "digit-8.png"
    serve = [fresh / "ocella", "serve", "--port", "0", "--http-port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **elsewhere) as server:
        try:
            assert server.stdout is not None
            listens, ready = server.stdout.readline(), server.stdout.readline()
            assert ready.startswith("ready: digits 1")
            address = listens.split()[2].rstrip(",")
            ask = [fresh / "ocella", "predict", "--server", address, "digits", digit, "--json"]
            answer = json.loads(subprocess.run(ask, capture_output=True, check=True, **elsewhere).stdout)
            assert answer[0]["result"]["classes"][0]["label"] == "8"
            server.terminate()
            assert server.wait(60) == 0
        finally:
            server.kill()


def build_with(source: Path, folder: Path, *, written_s: int, mode: int) -> dict[str, bytes]:
    """Wheel and sdist by name, from a copy of ``source`` whose files have other times and rights."""
    copy = folder / "copy"
    shutil.copytree(source, copy)
    for path in filter(Path.is_file, copy.rglob("*")):
        path.chmod(mode)
        os.utime(path, (written_s, written_s))
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "out"), str(copy)]
    # 2020: zip knows no time before 1980.
    subprocess.run(build, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"})
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.mark.slow
def test_two_builds_of_equal_sources_are_equal_to_the_byte(tmp_path: Path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    first = build_with(tmp_path / "source", tmp_path / "first", written_s=1_600_000_000, mode=0o644)
    second = build_with(tmp_path / "source", tmp_path / "second", written_s=1_700_000_000, mode=0o600)
    assert sorted(first) == sorted(second) == ["ocella-0.1.0-py3-none-any.whl", "ocella-0.1.0.tar.gz"]
    assert [name for name in first if first[name] != second[name]] == []
