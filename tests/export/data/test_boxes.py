"""What every reader of boxes does with bad ones: each outcome, in each format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.data.collect import ReadOptions
from export.data.dataset import BoxesTarget, Dataset, DatasetError
from export.data.detect_format import read_dataset
from tests import datasets

WIDTH, HEIGHT = datasets.SIZE_WH
Write = Callable[[Path, tuple[float, float, float, float]], Path]


def _yolo(root: Path, box: tuple[float, float, float, float]) -> Path:
    x1, y1, x2, y2 = box
    parts = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    good = f"0 0.5 0.5 {20 / WIDTH} {20 / HEIGHT}"
    return datasets.yolo(root, {"a": f"{good}\n0 " + " ".join(map(str, parts))}, names=["cat"])


def _voc(root: Path, box: tuple[float, float, float, float]) -> Path:
    return datasets.voc(root, {"a": datasets.voc_object(box=(20, 10, 40, 30)) + datasets.voc_object(box=box)})


def _coco(root: Path, box: tuple[float, float, float, float]) -> Path:
    x1, y1, x2, y2 = box
    rows = [
        datasets.annotation(1, bbox=[20, 10, 20, 20]),
        datasets.annotation(2, bbox=[x1, y1, x2 - x1, y2 - y1]),
    ]
    return datasets.coco(root, rows)


FORMATS = pytest.mark.parametrize("write", [_yolo, _voc, _coco], ids=["yolo", "voc", "coco"])
NAN = float("nan")


def boxes_of(dataset: Dataset) -> np.ndarray:
    target = dataset.samples[0].target
    assert isinstance(target, BoxesTarget)
    return target.boxes


@FORMATS
def test_a_good_box_is_read_in_pixels(write: Write, tmp_path: Path):
    dataset = read_dataset(write(tmp_path, (5, 6, 30, 20)))
    np.testing.assert_allclose(boxes_of(dataset), [[20, 10, 40, 30], [5, 6, 30, 20]], atol=1e-4)  # float32 of 60ths
    assert dataset.problems == ()
    np.testing.assert_allclose(dataset.samples[0].target.areas, [400, 350], rtol=1e-5)


@FORMATS
@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 6, 5, 20), "area above 0"),
        ((100, 100, 120, 120), "must lie in its image of 60 x 40"),
        ((-30, 0, -5, 10), "must lie in its image of 60 x 40"),
        ((5, NAN, 30, 20), "finite corners"),
    ],
    ids=["flat", "beyond", "before", "nan"],
)
def test_a_box_without_a_pixel_is_named_and_left_out_or_refused(write: Write, box, reason, tmp_path: Path):
    root = write(tmp_path, box)
    dataset = read_dataset(root)
    assert len(boxes_of(dataset)) == 1
    assert [problem.kind for problem in dataset.problems] == ["box"]
    assert reason in dataset.problems[0].reason
    with pytest.raises(DatasetError, match=reason):
        read_dataset(root, options=ReadOptions(on_error="refuse"))


@FORMATS
def test_a_box_that_reaches_out_is_cut_and_named(write: Write, tmp_path: Path):
    root = write(tmp_path, (-10, 30, 30, 55))
    dataset = read_dataset(root, options=ReadOptions(on_error="refuse"))
    np.testing.assert_allclose(boxes_of(dataset)[1], [0, 30, 30, 40], atol=1e-4)  # float32 of 60ths
    assert [problem.kind for problem in dataset.problems] == ["clipped"]


@FORMATS
def test_a_missing_image_is_named(write: Write, tmp_path: Path):
    root = write(tmp_path, (5, 6, 30, 20))
    if write is _yolo:  # there the image says that there is a sample: it is damaged instead
        (root / "images" / "b.png").write_bytes(b"")
        wanted = "b.png: image must be"
    else:
        next(root.rglob("*.png")).unlink()
        wanted = "the image is missing"
    with pytest.raises(DatasetError, match=wanted):
        read_dataset(root, options=ReadOptions(on_error="refuse"))
