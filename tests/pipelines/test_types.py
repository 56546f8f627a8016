"""Detections check what they are made of, are selected whole, and lay masks into their image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.types import BoolArray, Detections, identical, pixel_windows
from tests.builders import f32

CORNERS = f32([[1, 1], [4, 1], [4, 3], [1, 3]])


def bits(height: int, width: int, seed: int = 0) -> BoolArray:
    return np.random.default_rng(seed).uniform(size=(height, width)) < 0.5


def turned_and_masked(**over: Any) -> Detections:
    fields: dict[str, Any] = {
        "boxes": f32([[1.5, 1.0, 4.2, 3.0], [0, 2, 2, 6], [5, 5, 5, 8]]),
        "scores": f32([0.9, 0.8, 0.7]),
        "class_ids": np.array([2, 0, 1]),
        "labels": ("c", "a", "b"),
        "keypoints": np.arange(18, dtype=np.float32).reshape(3, 2, 3),
        "polygons": (CORNERS, CORNERS + 1, CORNERS + 2),
        "masks": (bits(2, 4), bits(4, 2), bits(3, 0)),
        "angles": f32([0.0, 0.5, -1.0]),
    }
    return Detections(**(fields | over))


@pytest.mark.parametrize(
    ("over", "said"),
    [
        pytest.param({"masks": (bits(2, 4),)}, "masks must be 3, one a box, got 1", id="masks missing"),
        pytest.param(
            {"masks": (bits(2, 3), bits(4, 2), bits(3, 0))}, r"must be bool \(2, 4\), got bool \(2, 3\)", id="size"
        ),
        pytest.param(
            {"masks": (np.ones((2, 4), np.uint8), bits(4, 2), bits(3, 0))}, "masks must be bool", id="mask dtype"
        ),
        pytest.param({"angles": f32([0, 1])}, r"angles must be float32 \(3,\)", id="angles missing"),
        pytest.param({"angles": np.zeros(3)}, "angles must be float32", id="angle dtype"),
        pytest.param({"skeleton": ((0, 2),)}, "skeleton must join some of 2 keypoints", id="no such keypoint"),
        pytest.param({"skeleton": ((0, 1),), "keypoints": None}, "join some of 0 keypoints", id="no keypoints"),
        pytest.param({"polygons": None}, "angles must come with polygons", id="no corners"),
        pytest.param({"polygons": (CORNERS[:3],) * 3}, r"turned boxes must be float32 \(4, 2\)", id="three corners"),
    ],
)
def test_fields_that_do_not_fit_are_refused(over: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        turned_and_masked(**over)


def test_every_field_of_a_selection_follows_its_box() -> None:
    found = turned_and_masked()
    chosen = found[np.array([2, 0])]
    assert chosen.masks is not None
    assert chosen.angles is not None
    assert [mask.shape for mask in chosen.masks] == [(3, 0), (2, 4)]
    assert chosen.angles.tolist() == [-1, 0]
    assert identical(chosen, found[[2, 0]])
    assert not identical(chosen, found[[0, 2]])


@pytest.mark.parametrize("field", ["masks", "angles"])
def test_results_that_differ_in_one_value_are_not_identical(field: str) -> None:
    found = turned_and_masked()
    other = {"masks": (~bits(2, 4), bits(4, 2), bits(3, 0)), "angles": f32([0.0, 0.5, -1.5])}[field]
    assert identical(found, turned_and_masked())
    assert not identical(found, turned_and_masked(**{field: other}))


def test_windows_are_the_pixels_that_a_box_touches() -> None:
    boxes = f32([[1.5, 1.0, 4.2, 3.0], [2, 2, 2, 2], [0.1, 0.1, 0.2, 0.2], [5, 5, 3, 3]])
    assert pixel_windows(boxes).tolist() == [[1, 1, 5, 3], [2, 2, 2, 2], [0, 0, 1, 1], [5, 5, 5, 5]]
    assert pixel_windows(boxes[:0]).shape == (0, 4)


def test_a_mask_lies_in_the_image_where_its_box_is() -> None:
    laid = turned_and_masked().mask(0, (7, 9))
    expected = np.zeros((7, 9), bool)
    expected[1:3, 1:5] = bits(2, 4)
    np.testing.assert_array_equal(laid, expected)


def test_a_mask_is_refused_by_an_image_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"box must lie inside an image of \(6, 4\)"):
        turned_and_masked().mask(0, (6, 4))


def test_a_mask_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="detections must have masks"):
        turned_and_masked(masks=None).mask(0, (7, 9))
