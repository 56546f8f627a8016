import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from export.data.collect import ReadOptions
from export.data.dataset import DatasetError, MaskTarget
from export.data.mask_folder import read_masks
from tests import datasets
from tests.packages import png
from tests.pngs import few_bits_png

LABELS = ("background", "cat", "dog")


def class_map_of(root: Path, **options: object) -> np.ndarray:
    target = read_masks(root, ReadOptions(on_error="refuse", **options)).samples[0].target
    assert isinstance(target, MaskTarget)
    return target.class_map()


def with_mask(root: Path, data: bytes, *, name: str = "a.png", labels: tuple[str, ...] = LABELS) -> Path:
    datasets.masks(root, {"a": datasets.square()}, labels=labels)
    (root / "masks" / "a.png").unlink()
    (root / "masks" / name).write_bytes(data)
    return root


def tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (png(Image.fromarray(datasets.square(2))), "a.png"),
        (datasets.palette_png(datasets.square(2)), "a.png"),
        (few_bits_png(datasets.square(2), bits=2), "a.png"),
        (few_bits_png(datasets.square(2), bits=4), "a.png"),
        (tiff(datasets.square(2).astype(np.uint16)), "a.tif"),
        (tiff(datasets.square(2).astype(np.int32), compression="zlib"), "a.tiff"),
    ],
    ids=["grey png", "palette png", "2-bit grey png", "4-bit grey png", "16-bit tiff", "compressed 32-bit tiff"],
)
def test_stored_values_are_classes_whatever_holds_them(data: bytes, name: str, tmp_path: Path):
    found = class_map_of(with_mask(tmp_path, data, name=name))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, datasets.square(2))


def test_without_labels_everything_above_0_is_the_foreground(tmp_path: Path):
    values = datasets.square(255)
    values[35, 5] = 3
    root = datasets.masks(tmp_path, {"a": values})
    assert read_masks(root, ReadOptions()).labels == ("background", "foreground")
    np.testing.assert_array_equal(class_map_of(root), values > 0)


def test_255_belongs_to_no_class(tmp_path: Path):
    root = datasets.masks(tmp_path, {"a": datasets.square(255)}, labels=LABELS)
    assert np.unique(class_map_of(root)).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(Image.fromarray(datasets.square(3))), r"class ids must be below 3, the labels, got \[3\]"),
        (png(Image.fromarray(datasets.square(size_wh=(40, 60)))), r"its image's size \(40, 60\), got \(60, 40\)"),
        (png(Image.new("RGB", datasets.SIZE_WH)), "one channel or have a palette, got Pillow mode RGB"),
        (b"", "must be a PNG or TIFF file"),
        (png(Image.fromarray(datasets.square()))[:-30], "must be a PNG or TIFF file"),
        (tiff(np.zeros((40, 60), np.float32)), "whole numbers, got float32"),
        (tiff(np.zeros((40, 60), np.uint8))[:100], "TIFF must be undamaged"),
        (tiff(np.zeros((3, 40, 60), np.uint8), photometric="minisblack"), "one page, got 3"),
    ],
    ids=["class", "size", "colours", "empty", "cut png", "float", "cut tiff", "pages"],
)
def test_a_broken_mask_is_named(data: bytes, reason: str, tmp_path: Path):
    root = with_mask(tmp_path, data)
    with pytest.raises(DatasetError, match=reason):
        read_masks(root, ReadOptions(on_error="refuse"))


def test_an_image_without_a_mask_and_a_mask_without_an_image_are_named(tmp_path: Path):
    root = datasets.masks(tmp_path, {"a": datasets.square(), "b": datasets.square(), "c": datasets.square()})
    (root / "masks" / "b.png").unlink()
    (root / "images" / "c.png").unlink()
    dataset = read_masks(root, ReadOptions())
    assert [sample.path.name for sample in dataset.samples] == ["a.png"]
    assert [problem.reason.split(":")[0] for problem in dataset.problems] == [
        "the mask is missing",
        "the mask has no image",
    ]


def test_names_that_are_there_twice_are_named(tmp_path: Path):
    root = datasets.masks(tmp_path, {"a": datasets.square()})
    datasets.write_image(root / "images" / "a.jpg")
    (root / "masks" / "a.tif").write_bytes(tiff(datasets.square()))
    reasons = [problem.reason for problem in read_masks(root, ReadOptions()).problems]
    assert any("each image must have one mask" in reason for reason in reasons)
    assert any("each mask must have one image" in reason for reason in reasons)


def test_classes_without_names_are_refused(tmp_path: Path):
    root = datasets.masks(tmp_path, {"a": datasets.square()})
    with pytest.raises(DatasetError, match="need their names"):
        read_masks(root, ReadOptions(mask_values="classes"))
