"""``ocella batch``: exit codes, one line for each mistake, one JSON document, and its way into ``ocella evaluate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import ocella
from pipelines.types import Detections
from tests.serving.batch.jobs import image_folder, rows
from tests.serving.servers import Offline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "in", 4)


def batch(*words: Path | str) -> int:
    return ocella.main(["batch", *map(str, words)])


def test_a_job_whose_images_all_have_a_result_exits_with_0(
    tmp_path: Path, folder: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    assert batch(folder, "--model", folders["classes"], "--out", tmp_path / "out", "--top-k", "2") == 0
    said = capsys.readouterr()
    assert said.out.startswith("4 images: 4 with a result; 4 computed in ")
    assert [len(row["result"]["classes"]) for row in rows(tmp_path / "out")] == [2, 2, 2, 2]


def test_a_failed_image_is_exit_code_1_unless_it_is_accepted(
    tmp_path: Path, folder: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    (folder / "bad.png").write_bytes(b"no image")
    words = (folder, "--model", folders["classes"], "--out", tmp_path / "out")
    assert batch(*words) == 1
    assert f"error: 1 of 5 images failed, {tmp_path}/out/errors.jsonl says why\n" in capsys.readouterr().err
    assert batch(*words, "--max-errors", "1") == 0
    assert batch(*words, "--max-errors", "0") == 1
    assert "error: at most 0 images may fail, 1 did" in capsys.readouterr().err


def test_json_is_one_document_on_standard_output(
    tmp_path: Path, folder: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    assert batch(folder, "--model", folders["classes"], "--out", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["complete"], document["images"], document["model"]) == (True, 4, "classes 1")
    assert document == json.loads((tmp_path / "out" / "summary.json").read_text())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{nothing}", "--model", "{classes}", "--out", "{out}"], 1, "must be a folder, a file or a pattern"),
        (["{empty}", "--model", "{classes}", "--out", "{out}"], 1, "must hold an image"),
        (["{folder}", "--model", "{nothing}", "--out", "{out}"], 1, "must be a package folder"),
        (["{folder}", "--model", "{vectors}", "--out", "{out}", "--top-k", "1"], 1, "does not apply to embedding"),
        (["{folder}", "--model", "{vectors}", "--out", "{out}", "--format", "coco"], 1, "holds results of detection"),
        (["{folder}", "--model", "m", "--out", "{out}", "--server", "127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["{folder}", "--model", "{classes}", "--out", "{out}", "--shard", "3/2"], 2, "i from 1 to n"),
        (["{folder}", "--model", "{classes}", "--out", "{out}", "--shard", "1"], 2, "must be i/n"),
        (["{folder}", "--model", "{classes}", "--out", "{out}", "--format", "xml"], 2, "must be one of jsonl"),
        (["{folder}", "--model", "{classes}", "--out", "{out}", "--server", "nowhere"], 2, "must be host:port"),
        (["{folder}", "--out", "{out}"], 2, "--model"),
        (
            ["{folder}", "--model", "{classes}", "--out", "{out}", "--ray", "--address", "127.0.0.1:1"],
            1,
            "a Ray cluster",
        ),
        (
            ["{folder}", "--model", "{classes}", "--out", "{out}", "--ray", "--address", "ray://h:1"],
            1,
            "must be auto, or",
        ),
        (["{folder}", "--model", "{nothing}", "--out", "{out}", "--ray"], 1, "must be a package folder"),
        (
            ["{folder}", "--model", "m", "--out", "{out}", "--ray", "--server", "h:1"],
            2,
            "must be given without --server",
        ),
        (["{folder}", "--model", "{classes}", "--out", "{out}", "--cores", "2"], 2, "must be given with --ray"),
    ],
)
def test_a_mistake_is_named_and_has_its_exit_code(
    tmp_path: Path,
    folder: Path,
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
):
    (tmp_path / "empty").mkdir()
    names = {"folder": folder, "out": tmp_path / "out", "nothing": tmp_path / "nothing", "empty": tmp_path / "empty"}
    assert batch(*(word.format(**names, **folders) for word in words)) == code
    error = capsys.readouterr().err
    assert said in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error
    if code == 1:
        assert error.count("\n") == 1
        assert error.startswith("error: ")


def test_without_ray_its_extra_is_named(
    tmp_path: Path,
    folder: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert batch(folder, "--model", folders["classes"], "--out", tmp_path / "out", "--ray") == 1
    assert capsys.readouterr().err == "error: --ray needs Ray: pip install 'ocella[ray]'\n"


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]):
    assert batch("--help") == 0
    assert "ocella batch examples/images" in capsys.readouterr().out


def test_coco_output_goes_straight_into_evaluate(
    tmp_path: Path,
    photos: list[bytes],
    folders: dict[str, Path],
    offline: Offline,
    capsys: pytest.CaptureFixture[str],
):
    data = tmp_path / "data"
    data.mkdir()
    truth: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    truth["categories"] = [{"id": 7, "name": "thing"}]
    for number, photo in enumerate(photos[:5]):
        name = f"photo-{number}.png"
        (data / name).write_bytes(photo)
        found = offline("things", photo)
        assert isinstance(found, Detections)
        size = {"width": int.from_bytes(photo[16:20], "big"), "height": int.from_bytes(photo[20:24], "big")}
        truth["images"].append({"id": 100 + number, "file_name": name, **size})
        for x1, y1, x2, y2 in found.boxes.tolist():
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            number_of = len(truth["annotations"]) + 1
            truth["annotations"].append({"id": number_of, "image_id": 100 + number, "category_id": 7, **box})
    assert len(truth["annotations"]) >= 5
    (data / "truth.json").write_text(json.dumps(truth))
    out = tmp_path / "out"
    words = (data, "--model", folders["things"], "--out", out, "--format", "coco")
    assert batch(*words, "--coco-truth", data / "truth.json") == 0
    capsys.readouterr()
    evaluate = ["evaluate", "--results", out / "coco.json", "--data", data / "truth.json", "--images", data, "--json"]
    assert ocella.main([str(word) for word in evaluate]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["ap50"] == pytest.approx(1.0)
