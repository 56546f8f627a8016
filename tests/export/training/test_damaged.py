"""Images whose headers are whole and whose pixels are not."""

from __future__ import annotations

from pathlib import Path

from export.data.detect_format import read_dataset
from export.training.damaged import without_damaged
from tests.export.training.runs import damage_pixels, write_digit_like


def test_an_image_of_damaged_pixels_is_left_out_and_named(tmp_path: Path) -> None:
    bad = damage_pixels(write_digit_like(tmp_path) / "down" / "2.png")
    read = read_dataset(tmp_path)
    assert bad in {sample.path for sample in read.samples}  # readers look at headers alone.
    whole = without_damaged(read)
    assert {sample.path for sample in read.samples} - {sample.path for sample in whole.samples} == {bad}
    assert [(problem.path, problem.kind) for problem in whole.problems] == [(bad, "image")]


def test_whole_data_stay_as_they_are(tmp_path: Path) -> None:
    read = read_dataset(write_digit_like(tmp_path))
    assert without_damaged(read) is read
