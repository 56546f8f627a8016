"""Images as a model's recipe decodes them, and the labels that lie on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.data.collect import Collector, shown_size
from export.data.dataset import DatasetError, Sample
from export.training.pixels import ImageReader
from tests import datasets
from tests.builders import image_spec


def rotated(tmp_path: Path) -> Sample:
    """A photo that EXIF turns, without objects."""
    path = datasets.write_rotated(tmp_path / "a.jpg")
    return Sample(path, Collector("refuse").boxes([], shown_size(path), path), shown_size(path))


def test_an_image_is_turned_as_its_labels_are(tmp_path: Path) -> None:
    assert ImageReader(image_spec(exif="apply")).read_labelled(rotated(tmp_path)).shape == (60, 40, 3)


def test_an_image_that_is_not_turned_as_its_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"must be decoded as its labels lie, \(60, 40\).* it is \(40, 60\)"):
        ImageReader(image_spec(exif="ignore")).read_labelled(rotated(tmp_path))


def test_images_used_last_are_kept_as_long_as_they_fit(tmp_path: Path) -> None:
    first, second = (datasets.write_image(tmp_path / f"{i}.png", number=i) for i in range(2))
    reader = ImageReader(image_spec(), cache_bytes=40 * 60 * 3)
    held = reader.read(first)
    assert reader.read(first) is held
    reader.read(second)
    assert reader.read(first) is not held
