"""``ocella verify`` and ``ocella golden`` as a person runs them."""

import json
import shutil
from pathlib import Path

import pytest

from ocella import main
from pipelines.loader import load_package
from tests.packages import edit_manifest, make_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("root") / "tiny")


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package, tmp_path / "tiny"))


def test_verify_says_what_was_proven(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(package)]) == 0
    said = capsys.readouterr().out
    assert "tiny 1 (classification) is intact: 3 files, seal, graph" in said
    assert "proves stability, not correctness" in said


def test_verify_json_is_one_document(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(package), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["reference"], row["pixel_levels"]) == ("tiny", "onnxruntime", 0)


def test_verify_names_what_is_wrong_in_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "model.onnx").unlink()
    assert main(["verify", str(copy)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"error: {copy}: model.onnx is missing\n"


def test_golden_has_nothing_to_do_on_an_intact_package(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copy / "manifest.json").read_bytes()
    assert main(["golden", str(copy)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (copy / "manifest.json").read_bytes() == before


def test_golden_shows_the_difference_and_records_anew(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_manifest(copy, lambda raw: raw["image"].update(color="bgr"), reseal=False)
    assert main(["golden", str(copy), "--yes"]) == 0
    said = capsys.readouterr().out
    assert "recipe changed" in said
    assert "pixels differ by up to" in said
    with load_package(copy) as model:
        assert model.manifest.image.color == "bgr"
        assert model.manifest.golden.reference == "onnxruntime"


def test_golden_changes_nothing_without_a_yes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_manifest(copy, lambda raw: raw["head"].update(top_k=2), reseal=False)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert main(["golden", str(copy)]) == 1  # stdin is closed: nobody says yes
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_golden_names_changed_files(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "golden" / "sample-0.npz").unlink()
    make = make_package(copy.parent / "other")
    shutil.copy(make / "golden" / "sample-0.npz", copy / "golden" / "sample-0.npz")
    edit_manifest(copy, lambda raw: raw["files"].update({"golden/sample-0.npz": "0" * 64}), reseal=False)
    assert main(["golden", str(copy), "--yes"]) == 0
    assert "file changed: golden/sample-0.npz" in capsys.readouterr().out
    load_package(copy).close()
