"""The command through its own words: packages, a real server on loopback, result files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ocella
from tests import datasets
from tests.export.evaluate.conftest import World
from tests.export.evaluate.packages import BUILDERS, TASKS
from tests.packages import edit_manifest, make_package
from tests.serving.servers import server_in_thread

PERFECT = {"classification": "top1", "segmentation": "miou"}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = ocella.main(["evaluate", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("task", PERFECT)
def test_a_model_measured_on_its_own_answers_is_perfect(task: str, world: World, capsys):
    assert document(capsys, world.packages[task], "--data", world.data[task])["metrics"][PERFECT[task]] == 1


def test_a_detector_measured_on_its_own_answers_finds_them_all(world: World, capsys):
    found = document(capsys, world.packages["detection"], "--data", world.data["detection"], "--max-detections", 300)
    assert found["metrics"]["recall"] == pytest.approx(1, abs=1e-3)  # boxes go through six digits of text
    assert found["metrics"]["ap50"] > 0.99  # what scores below 0.7 was not labelled, and comes after all that was


def test_offline_and_through_a_server_the_numbers_are_the_same(world: World, capsys):
    with server_in_thread(world.repository) as server:
        for task in TASKS:
            offline = document(capsys, world.packages[task], "--data", world.data[task])
            model = BUILDERS[task][2]
            remote = document(capsys, "--server", server.grpc_address, "--model", model, "--data", world.data[task])
            assert remote == offline
            assert offline["metrics"]


@pytest.mark.parametrize("task", TASKS)
def test_the_folder_holds_metrics_curves_and_a_page_that_stands_alone(task: str, world: World, tmp_path: Path, capsys):
    code, out, err = run(capsys, world.packages[task], "--data", world.data[task], "--out", tmp_path / "out")
    assert code == 0, err
    assert f"report: {tmp_path / 'out' / 'report.html'}" in out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["task"] == task
    curves = list((tmp_path / "out").glob("*.png"))
    assert curves
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in curves)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(curves)
    addresses = re.findall(r'(?:src|href)="([^"]{0,12})', page)
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)


def test_a_wrong_pairing_is_one_sentence(world: World, capsys):
    code, out, err = run(capsys, world.packages["detection"], "--data", world.data["classification"])
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"error: things is a detection model and cannot be measured on {world.data['classification']}, which is "
        "class-folders for classification"
    )


def test_a_class_that_the_model_does_not_have_is_named(world: World, tmp_path: Path, capsys):
    root = datasets.folders(tmp_path, {"CLASS 1": 1, "zebra": 1})
    code, _, err = run(capsys, world.packages["classification"], "--data", root)
    assert code == 1
    assert "'CLASS 1', 'zebra' of 2 are not ('CLASS 1' is 'class 1' there)" in err


def test_numbers_are_class_ids(world: World, tmp_path: Path, capsys):
    root = tmp_path / "numbers"
    for folder in world.data["classification"].iterdir():
        for image in folder.iterdir():
            target = root / folder.name.removeprefix("class ") / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.read_bytes())
    assert document(capsys, world.packages["classification"], "--data", root)["metrics"]["top1"] == 1


def test_an_image_that_cannot_be_decoded_is_named_and_left_out_or_refused(world: World, tmp_path: Path, capsys):
    root = tmp_path / "data"
    for image in (image for folder in world.data["classification"].iterdir() for image in folder.iterdir()):
        (root / image.parent.name).mkdir(parents=True, exist_ok=True)
        (root / image.parent.name / image.name).write_bytes(image.read_bytes())
    data = bytearray(image.read_bytes())
    place = data.index(b"IDAT") + 30
    data[place : place + 40] = bytes(40)  # its structure stays whole, its pixels do not
    (root / image.parent.name / "damaged.png").write_bytes(data)
    found = document(capsys, world.packages["classification"], "--data", root)
    assert [Path(problem["file"]).name for problem in found["data"]["problems"]] == ["damaged.png"]
    assert found["data"]["images"] == 6
    code, _, err = run(capsys, world.packages["classification"], "--data", root, "--on-error", "refuse")
    assert code == 1
    assert "damaged.png" in err


def test_a_drop_below_what_the_package_promises_is_shown(world: World, tmp_path: Path, capsys):
    folder = make_package(tmp_path / "package", name="promising")
    promise = {"top1": {"value": 1.0, "split": "held out"}, "ece": {"value": 1.0, "split": "held out"}}
    edit_manifest(folder, lambda raw: raw["provenance"].update(metrics=promise), reseal=False)
    root = tmp_path / "wrong"
    datasets.folders(root, {"class 0": 2, "class 1": 2, "class 3": 2})
    rows = {row["metric"]: row for row in document(capsys, folder, "--data", root)["promised"]}
    assert rows["top1"]["verdict"] == "drop"
    assert rows["top1"]["change"] == pytest.approx(rows["top1"]["measured"] - 1)
    assert rows["ece"]["verdict"] == "kept"  # less error than promised


def test_results_from_elsewhere_are_measured(tmp_path: Path, capsys):
    rows = [datasets.annotation(1), datasets.annotation(2, image=2, category=30, bbox=[10, 10, 20, 20])]
    root = datasets.coco(tmp_path / "data", rows, num_images=2)
    found = [
        {"image_id": 1, "category_id": 7, "bbox": [5, 6, 25, 14], "score": 0.9},
        {"image_id": 2, "category_id": 7, "bbox": [10, 10, 20, 20], "score": 0.8},
    ]
    (tmp_path / "results.json").write_text(json.dumps(found))
    words = ("--results", tmp_path / "results.json", "--data", root)
    metrics = document(capsys, *words)["metrics"]
    assert metrics["ap50"] == pytest.approx(0.5)  # the cat is found before the false one, the dog is not
    code, _, _ = run(capsys, *words, "--out", tmp_path / "out")
    assert code == 0
    assert "answered" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"image_id": 9, "category_id": 7, "bbox": [1, 1, 2, 2], "score": 1}, "image_id must be one of the data's"),
        ({"image_id": 1, "category_id": 8, "bbox": [1, 1, 2, 2], "score": 1}, "category_id must be one of"),
        ({"image_id": 1, "category_id": 7, "bbox": [1, 1, 2], "score": 1}, "bbox must be"),
        ({"image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2], "score": float("nan")}, "score a number"),
        ([], "must be an object, got list"),
    ],
)
def test_a_broken_result_is_named(entry: object, reason: str, tmp_path: Path, capsys):
    root = datasets.coco(tmp_path / "data", [datasets.annotation()])
    (tmp_path / "results.json").write_text(json.dumps([entry]))
    code, _, err = run(capsys, "--results", tmp_path / "results.json", "--data", root)
    assert code == 1
    assert "results.json: result 0:" in err
    assert reason in err


@pytest.mark.parametrize(
    "words", [(), ("package", "--results", "r.json"), ("--server", "localhost:1"), ("--model", "m")], ids=str
)
def test_one_subject_is_needed(words: tuple[str, ...], capsys):
    code, out, _ = run(capsys, *words, "--data", "x")
    assert (code, out) == (2, "")


def test_a_missing_folder_is_one_line(world: World, capsys):
    code, _, err = run(capsys, world.packages["classification"], "--data", "no/such")
    assert code == 1
    assert err.splitlines() == ["error: no/such does not exist"]


def test_verification_says_which_rates_its_pairs_resolve(world: World, capsys):
    found = document(
        capsys, world.packages["embedding"], "--data", world.data["embedding"], "--far", 0.5, "--far", 0.01
    )
    assert [row["far"] for row in found["tables"]["true accept rate at false accept rate"]] == [0.5, 0.01]
    assert "tar_at_far_5e-1" in found["metrics"]
    assert "tar_at_far_1e-2" not in found["metrics"]  # 9 impostor pairs
    assert any("FAR 0.01 needs 100 impostor pairs, there are 9" in note for note in found["notes"])


def test_names_in_the_page_are_escaped(world: World, tmp_path: Path, capsys):
    source = datasets.folders(tmp_path / "<b>data", {"class 0": 1, "class 1": 1})
    code, _, err = run(capsys, world.packages["classification"], "--data", source, "--out", tmp_path / "out")
    assert code == 0, err
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>data" not in page
    assert "&lt;b&gt;data" in page


def test_figures_are_finite_or_null(world: World, capsys):
    text = json.dumps(document(capsys, world.packages["segmentation"], "--data", world.data["segmentation"]))
    assert "NaN" not in text
    assert np.isfinite(json.loads(text)["metrics"]["pixel_accuracy"])
