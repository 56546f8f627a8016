"""Each format read back by what reads it elsewhere, and held to ``results.jsonl``."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pyarrow import parquet
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from serving.batch.errors import JobError
from tests.serving.batch.jobs import (
    LABELS,
    RESULTS,
    FakeEngine,
    detections,
    embedding,
    image,
    image_folder,
    rows,
    run,
    segmentation,
)

NUM_IMAGES = 12
BAD = 5
GOOD = [i for i in range(NUM_IMAGES) if i != BAD]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "in", NUM_IMAGES, bad=(BAD,))


def write(tmp_path: Path, folder: Path, *formats: str, task: str = "detection", **over: Any) -> Path:
    summary = run(tmp_path / "out", folder, engine=FakeEngine(task), formats=("jsonl", *formats), **over)
    assert summary.complete, summary.problem
    return tmp_path / "out"


@pytest.mark.parametrize("task", ["detection", "classification", "embedding", "segmentation"])
def test_a_line_of_csv_stands_for_each_thing_of_a_result(tmp_path: Path, folder: Path, task: str):
    out = write(tmp_path, folder, "csv", task=task)
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    expected = []
    for row in rows(out):
        result = row["result"]
        things = [result] if task == "embedding" else result.get("detections", result.get("classes"))
        expected += [(str(row["index"]), row["sha256"], thing) for thing in things]
    assert len(expected) > 5
    for line, (index, sha256, thing) in zip(lines, expected, strict=True):
        assert (line["index"], line["sha256"]) == (index, sha256)
        for key in ("class_id", "label", "score", "pixels"):
            if key in thing:
                assert line[key] == str(thing[key])
        for i, value in enumerate(thing.get("vector", ())):
            assert float(line[f"v{i}"]) == value
        if "box" in thing:
            assert [float(line[key]) for key in ("x1", "y1", "x2", "y2")] == thing["box"]


@pytest.mark.parametrize("task", ["detection", "classification", "embedding", "segmentation"])
def test_parquet_holds_a_typed_row_for_each_image(tmp_path: Path, folder: Path, task: str):
    out = write(tmp_path, folder, "parquet", task=task)
    table = parquet.read_table(out / "results.parquet").to_pylist()
    assert [row["index"] for row in table] == GOOD
    for typed, row in zip(table, rows(out), strict=True):
        assert (typed["source"], typed["sha256"], typed["width"]) == (row["source"], row["sha256"], row["width"])
        assert json.loads(typed["result"]) == row["result"]
        result = row["result"]
        if task == "embedding":
            assert typed["vector"] == result["vector"]
        else:
            found = result.get("detections", result.get("classes"))
            assert typed["class_ids"] == [one["class_id"] for one in found]
            if task == "detection":
                assert typed["boxes"] == [one["box"] for one in found]


def test_parquet_is_flushed_by_a_fixed_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.batch.writers.parquet._ROWS_AT_ONCE", 4)
    out = write(tmp_path, image_folder(tmp_path / "in", 10), "parquet")
    file = parquet.ParquetFile(out / "results.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 2]
    assert len(file.read()) == 10


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    summary = run(tmp_path / "out", folder, formats=("parquet",))
    assert summary.problem == "Parquet output needs pyarrow: pip install 'ocella[data]'"


def truth_file(path: Path) -> Path:
    """A COCO file whose ids are none of ours: what ``detections`` finds, and one class that no model has."""
    images, annotations = [], []
    for i in GOOD:
        found = detections(image(i))
        images.append({"id": 1000 + i, "file_name": f"{i:04}.png", "width": 40, "height": 24})
        for box, class_id in zip(found.boxes.tolist(), found.class_ids.tolist(), strict=True):
            bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1000 + i,
                    "category_id": 70 + class_id,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                }
            )
    images.append({"id": 1000 + BAD, "file_name": f"{BAD:04}.png", "width": 40, "height": 24})
    categories = [{"id": 70 + i, "name": name} for i, name in enumerate((*LABELS, "giraffe"))]
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return path


def test_coco_results_with_the_ids_of_a_truth_file_score_as_what_was_found(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    truth = truth_file(tmp_path / "truth.json")
    out = write(tmp_path, folder, "coco", coco_truth=truth)
    loaded = COCO(str(truth))
    judge = COCOeval(loaded, loaded.loadRes(str(out / "coco.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    capsys.readouterr()
    assert judge.stats[0] == pytest.approx(1.0)


def test_coco_results_with_ids_of_our_own_load_beside_the_images_that_they_name(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    out = write(tmp_path, folder, "coco")
    named = json.loads((out / "coco_images.json").read_text())
    assert [one["id"] for one in named["images"]] == [i + 1 for i in GOOD]
    assert named["categories"] == [{"id": i + 1, "name": name} for i, name in enumerate(LABELS)]
    index = COCO()
    index.dataset = {**named, "annotations": [], "info": {}}
    index.createIndex()
    results = index.loadRes(str(out / "coco.json"))
    capsys.readouterr()
    assert len(results.anns) == sum(len(detections(image(i))) for i in GOOD)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, under numpy 2
def test_coco_masks_are_those_of_the_result(tmp_path: Path, folder: Path):
    out = write(tmp_path, folder, "coco")
    results = json.loads((out / "coco.json").read_text())
    expected = [detections(image(i)).mask(k, (24, 40)) for i in GOOD for k in range(len(detections(image(i))))]
    for result, mask in zip(results, expected, strict=True):
        assert np.array_equal(coco_mask.decode(result["segmentation"]), mask)


def test_an_image_that_the_truth_does_not_list_is_named(tmp_path: Path, folder: Path):
    truth = truth_file(tmp_path / "truth.json")
    (folder / "zzz.png").write_bytes(image(50))
    summary = run(tmp_path / "out", folder, formats=("coco",), coco_truth=truth)
    assert summary.problem == f"{truth} must list every image of the job, it has none called zzz.png"


@pytest.mark.parametrize(
    ("text", "said"),
    [("[]", "must be a COCO file"), ('{"images": [], "categories": [{"id": 1, "name": "x"}]}', "must share a class")],
)
def test_a_truth_file_that_cannot_serve_is_refused(tmp_path: Path, folder: Path, text: str, said: str):
    (tmp_path / "truth.json").write_text(text)
    assert said in run(tmp_path / "out", folder, formats=("coco",), coco_truth=tmp_path / "truth.json").problem


def test_a_job_without_a_detection_has_an_empty_list(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    none = next(image(i) for i in range(100) if len(detections(image(i))) == 0)
    (folder / "a.png").write_bytes(none)
    out = write(tmp_path, folder, "coco")
    assert json.loads((out / "coco.json").read_text()) == []


def test_yolo_texts_give_the_boxes_back(tmp_path: Path, folder: Path):
    out = write(tmp_path, folder, "yolo")
    assert (out / "labels" / "classes.txt").read_text().split() == list(LABELS)
    for i in GOOD:
        found = detections(image(i))
        lines = (out / "labels" / f"{i:04}.txt").read_text().splitlines()
        numbers = np.array([line.split() for line in lines], np.float64).reshape(len(found), 6)
        center, size = numbers[:, 1:3] * (40, 24), numbers[:, 3:5] * (40, 24)
        boxes = np.concatenate((center - size / 2, center + size / 2), axis=1)
        np.testing.assert_allclose(boxes, found.boxes, atol=1e-4)  # six decimals of 40 pixels, summed thrice
        assert numbers[:, 0].astype(int).tolist() == found.class_ids.tolist()


def test_images_of_one_stem_have_a_text_each(tmp_path: Path):
    folder = tmp_path / "in"
    (folder / "a").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "a.png", "a/a.png")):
        (folder / name).write_bytes(image(i))
    out = write(tmp_path, folder, "yolo")
    found = {str(path.relative_to(out / "labels")) for path in (out / "labels").rglob("*.txt")}
    assert found == {"a.txt", "a.png.txt", "a/a.txt", "classes.txt"}


def test_mask_images_hold_the_classes_of_a_map(tmp_path: Path, folder: Path):
    out = write(tmp_path, folder, "masks-png", task="segmentation")
    with (out / "masks.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [line["mask"] for line in listed] == [f"masks/{i:04}.png" for i in GOOD]
    for i, line in zip(GOOD, listed, strict=True):
        pixels = cv2.imread(str(out / line["mask"]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(pixels, segmentation(image(i)).class_map)


def test_mask_images_number_objects_and_show_the_better_on_top(tmp_path: Path, folder: Path):
    out = write(tmp_path, folder, "masks-png")
    for i in GOOD:
        found = detections(image(i))
        expected = np.zeros((24, 40), np.uint8)
        for k in reversed(range(len(found))):
            expected[found.mask(k, (24, 40))] = k + 1
        assert np.array_equal(cv2.imread(str(out / "masks" / f"{i:04}.png"), cv2.IMREAD_UNCHANGED), expected)


@pytest.mark.parametrize("task", ["detection", "segmentation"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, under numpy 2
def test_run_lengths_are_those_that_pycocotools_reads(tmp_path: Path, folder: Path, task: str):
    out = write(tmp_path, folder, "masks-rle", task=task)
    for i, row in zip(GOOD, rows(out, "masks.jsonl"), strict=True):
        masks = [coco_mask.decode({"size": row["size"], "counts": one["counts"]}) != 0 for one in row["masks"]]
        if task == "segmentation":
            class_map = segmentation(image(i)).class_map
            expected = [class_map == one["class_id"] for one in row["masks"]]
            assert [one["class_id"] for one in row["masks"]] == [1, 2]
        else:
            found = detections(image(i))
            expected = [found.mask(k, (24, 40)) for k in range(len(found))]
        assert len(masks) == len(expected)
        assert all(np.array_equal(mask, wanted) for mask, wanted in zip(masks, expected, strict=True))


def test_embeddings_are_one_array_with_its_index(tmp_path: Path, folder: Path):
    out = write(tmp_path, folder, "embeddings", task="embedding")
    vectors = np.load(out / "embeddings.npy")
    with (out / "embeddings.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, np.stack([embedding(image(i)).vector for i in GOOD]))
    assert [(int(line["row"]), int(line["index"])) for line in listed] == list(enumerate(GOOD))


@pytest.mark.parametrize("name", ["masks-png", "masks-rle"])
def test_masks_of_a_detector_that_has_none_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setitem(RESULTS, "detection", lambda data: replace(detections(data), masks=None))  # type: ignore[arg-type]
    summary = run(tmp_path / "out", folder, formats=(name,))
    assert summary.problem == "masks must come from a model that has them, this detector gives boxes alone"
    assert not (tmp_path / "out" / "masks").exists()


def test_two_images_of_one_name_in_the_truth_are_refused(tmp_path: Path):
    folder = tmp_path / "in"
    for i, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        (folder / name / "0000.png").write_bytes(image(i))
    truth = truth_file(tmp_path / "truth.json")
    summary = run(tmp_path / "out", folder, formats=("coco",), coco_truth=truth)
    assert summary.problem == (
        f"{truth} must have an image for each of the job, "
        f"{folder}/a/0000.png and {folder}/b/0000.png are one of its images"
    )


def test_class_names_are_utf8_whatever_the_locale(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from serving.batch.writers import FORMATS, Target;"
        "FORMATS['yolo'](Target(folder=Path(sys.argv[1]), task='detection', labels=('K\\xe4fer', '\\ud800')))"
    )
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, tmp_path], env={**os.environ, **bare}, check=True)
    assert (tmp_path / "labels" / "classes.txt").read_bytes() == "K\xe4fer\n\\ud800\n".encode()


def test_a_format_that_cannot_hold_the_models_results_is_refused(tmp_path: Path, folder: Path):
    with pytest.raises(JobError, match="format embeddings holds results of embedding, the model's task is detection"):
        run(tmp_path / "out", folder, formats=("embeddings",))
