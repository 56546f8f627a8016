"""Cascade packages: made whole or not at all, bound to their members, and the command that makes them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ocella
from export.cascade import CascadeRecipe, write_cascade
from pipelines.cli import golden, verify
from pipelines.errors import (
    ChecksumError,
    GoldenMismatchError,
    ImageDecodeError,
    ManifestError,
    PackageError,
    RecipeError,
    SealError,
)
from pipelines.loader import LoadedCascade, find_package, load_model, load_package
from pipelines.manifest import MANIFEST_FILE, read_manifest
from pipelines.rerecord import find_drift, rerecord
from tests.cascades import align_crop, box_crop, make_cascade
from tests.packages import edit_manifest, photo, png


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cascade(
        tmp_path_factory.mktemp("made") / "pair" / "1", second="embedding", crop=align_crop(), max_objects=5
    )


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> Path:
    """A cascade that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "pair" / "1"))


def members(folder: Path) -> tuple[Path, Path]:
    return folder / "detector", folder / "second"


def test_a_cascade_is_found_and_loaded_as_any_package(made: Path):
    assert find_package(made.parent.parent) == made
    with load_package(made.parent) as loaded:
        assert isinstance(loaded, LoadedCascade)
        assert loaded.manifest == read_manifest(made)
        assert loaded.golden is not None
        assert loaded.golden.compared > 0
        assert loaded.manifest.head.crop == align_crop()


def test_what_needs_a_graph_of_its_own_refuses_a_cascade(made: Path):
    with pytest.raises(PackageError, match="it is a cascade: name one of its members"):
        load_model(made)


def test_nothing_is_left_of_a_cascade_that_cannot_be_made(made: Path, tmp_path: Path):
    detector, second = members(made)
    recipe = CascadeRecipe(name="pair", version=1, description="", crop=box_crop(), min_size_px=16_000)
    sample = tmp_path / "sample.png"
    sample.write_bytes(png(photo()))
    out = tmp_path / "out" / "1"
    with pytest.raises(RecipeError, match="must show an object that goes on to the second model"):
        write_cascade(out, recipe, detector=detector, second=second, samples=[sample])
    with pytest.raises(RecipeError, match="needs 1 to 4 sample images, got 0"):
        write_cascade(out, recipe, detector=detector, second=second, samples=[])
    with pytest.raises(ManifestError, match="the detector's task must be detection"):
        write_cascade(out, recipe, detector=second, second=second, samples=[sample])
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        write_cascade(out, recipe, detector=detector, second=second, samples=[tmp_path / "none.png"])
    sample.write_bytes(b"no image")
    with pytest.raises(ImageDecodeError, match=r"sample .*sample\.png: "):
        write_cascade(out, recipe, detector=detector, second=second, samples=[sample])
    assert list((tmp_path / "out").iterdir()) == []
    out.mkdir()
    with pytest.raises(PackageError, match="exists already"):
        write_cascade(out, recipe, detector=detector, second=second, samples=[sample])


def _spoil_graph(folder: Path) -> None:
    (folder / "second" / "model.onnx").write_bytes(b"other")


def _replace_member(folder: Path) -> None:
    edit_manifest(folder / "detector", lambda raw: raw.update(description="another"), reseal=True)


def _remove_member(folder: Path) -> None:
    shutil.rmtree(folder / "second")


def _nest(folder: Path) -> None:
    shutil.copy(folder / MANIFEST_FILE, folder / "second" / MANIFEST_FILE)
    import hashlib

    digest = hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()
    edit_manifest(folder, lambda raw: raw["head"]["second"].update(manifest_sha256=digest), reseal=True)


def _add_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("?")


def _edit(change: Callable[[dict[str, Any]], object], *, reseal: bool) -> Callable[[Path], None]:
    return lambda folder: edit_manifest(folder, change, reseal=reseal)


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        pytest.param(_spoil_graph, ChecksumError, "model.onnx has SHA-256", id="member's graph"),
        pytest.param(_replace_member, ChecksumError, "detector/manifest.json has SHA-256", id="other member"),
        pytest.param(_remove_member, ChecksumError, "second must be a package folder inside it", id="no member"),
        pytest.param(_nest, ManifestError, "it is a cascade", id="cascade in a cascade"),
        pytest.param(_add_file, ChecksumError, "notes.txt is not listed", id="extra file"),
        pytest.param(
            _edit(lambda raw: raw["head"].update(min_size_px=3.0), reseal=False), SealError, "head, image", id="edited"
        ),
        pytest.param(
            _edit(lambda raw: raw["head"]["crop"].update(margin=0.5), reseal=True),
            ManifestError,
            r"head\.crop\.margin",
            id="a field that does not act",
        ),
        pytest.param(
            _edit(lambda raw: raw["head"]["crop"].update(landmarks=[0, 1]), reseal=True),
            ManifestError,
            "landmarks must be 5 different indices for arcface_112",
            id="too few landmarks",
        ),
        pytest.param(
            _edit(lambda raw: raw["head"]["second"].update(folder="../x"), reseal=True),
            ManifestError,
            r"head\.second\.folder",
            id="member outside",
        ),
        pytest.param(
            _edit(lambda raw: raw["head"].update(max_objects=2), reseal=True),
            GoldenMismatchError,
            "decoded result differs",
            id="other recipe",
        ),
        pytest.param(
            _edit(lambda raw: raw["head"]["crop"].update(size_px=9), reseal=True),
            GoldenMismatchError,
            "decoded result differs: object",
            id="other crop",
        ),
    ],
)
def test_a_spoiled_cascade_is_refused_with_the_check_that_failed(
    pair: Path, spoil: Callable[[Path], None], error: type[Exception], said: str
):
    spoil(pair)
    with pytest.raises(error, match=said):
        load_package(pair)


def test_an_intact_cascade_has_no_drift(made: Path):
    assert not find_drift(made)


def test_a_changed_recipe_and_member_are_shown_and_recorded_anew(pair: Path):
    edit_manifest(pair, lambda raw: raw["head"].update(max_objects=2), reseal=False)
    edit_manifest(pair / "second", lambda raw: raw.update(description="another"), reseal=True)
    drift = find_drift(pair)
    assert drift.recipe_changed
    assert drift.files_changed == ("second/manifest.json",)
    assert drift.replay_problem is not None
    rerecord(pair)
    with load_package(pair) as loaded:
        assert isinstance(loaded, LoadedCascade)
        assert loaded.manifest.head.max_objects == 2


def test_a_member_that_is_not_intact_is_recorded_first(pair: Path):
    edit_manifest(pair / "second", lambda raw: raw["head"].update(normalize=False), reseal=False)
    with pytest.raises(SealError, match="recipe changed"):
        rerecord(pair)
    rerecord(pair / "second")
    rerecord(pair)
    load_package(pair).close()


def test_verify_and_golden_take_a_cascade(made: Path, capsys: pytest.CaptureFixture[str]):
    verify(made)
    assert "pair 1 (cascade) is intact" in capsys.readouterr().out
    golden(made)
    assert "nothing to do" in capsys.readouterr().out


@pytest.fixture
def command(made: Path, tmp_path: Path) -> Callable[..., int]:
    sample = tmp_path / "sample.png"
    sample.write_bytes(png(photo()))
    detector, second = members(made)

    def run(*flags: str) -> int:
        common = ["--name", "joined", "--sample", str(sample), "--out", str(tmp_path / "joined" / "1")]
        return ocella.main(["cascade", str(detector), str(second), *common, *flags])

    return run


def test_the_command_makes_a_package_that_predict_takes(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command("--crop", "align", "--template", "arcface_112", "--classes", "0", "--max-objects", "3") == 0
    capsys.readouterr()
    drawn = tmp_path / "drawn"
    arguments = [str(tmp_path / "joined" / "1"), str(tmp_path / "sample.png"), "--json", "--draw", str(drawn)]
    assert ocella.main(["predict", *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["result"]["task"] == "cascade"
    assert [each["result"]["task"] for each in row["result"]["objects"]] == ["embedding"] * 3
    assert (drawn / "sample.png").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--crop", "box", "--size", "9"], "--size has no effect with --crop box"),
        (["--crop", "align", "--margin", "0.2"], "--margin has no effect with --crop align"),
        (["--crop", "align"], "--crop align needs --template, one of arcface_112, dlib_150, eye_line"),
        (["--crop", "align", "--template", "eye_line"], "eye_line has no size of its own, give --size"),
        (["--crop", "box", "--margin", "9"], "margin"),
        (["--crop", "box", "--classes", "face"], "--classes must be whole numbers with commas between, got 'face'"),
        (["--crop", "box", "--classes", "7"], "head.classes names class 7, there are 1"),
        (["--crop", "align", "--template", "dlib_150", "--landmarks", "0,1"], "landmarks must be 5 different indices"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_make_no_cascade_are_named_in_one_line(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], flags: list[str], said: str
):
    assert command(*flags) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
