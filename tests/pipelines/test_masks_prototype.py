"""Masks from prototypes: the naive loop, the pixels that are computed, and what does not belong together."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import masks_prototype
from pipelines.errors import ModelOutputError
from pipelines.geometry import Affine, place
from pipelines.masks_prototype import assemble_masks
from pipelines.specs import CenterCrop, Stretch
from pipelines.types import pixel_windows
from tests.builders import f32, letterbox
from tests.pipelines.decoders import naive_yolo

# An original of 30 x 20 (height x width) lies in the middle of a row of 24 x 32, larger and smaller than its map.
LETTERBOX = place(letterbox(size_hw=(24, 32)), (30, 20))
STRETCHED = place(Stretch(kind="stretch", size_hw=(24, 32)), (9, 40))
CROPPED = place(
    CenterCrop(kind="center_crop", size_hw=(24, 32), resize_shorter=40, size_rounding="floor", offset_rounding="floor"),
    (20, 28),
)
EVERYWHERE = np.ones((1, 6, 8), np.float32)


@pytest.mark.parametrize("affine", [LETTERBOX, STRETCHED, CROPPED], ids=["letterbox", "stretch", "crop"])
@given(seed=st.integers(0, 10_000), count=st.integers(0, 3), threshold=st.sampled_from([0.3, 0.5, 0.7]))
def test_masks_equal_the_naive_loop(affine: Affine, seed: int, count: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    coefficients = f32(random.normal(0, 1, (count, 4)))
    prototypes = f32(random.normal(0, 1, (4, 6, 8)))
    ends = np.sort(random.uniform(0, 1, (count, 2, 2)), axis=1) * affine.src_hw[::-1]
    boxes = f32(ends.reshape(count, 4))
    masks = assemble_masks(coefficients, prototypes, boxes, affine, threshold=threshold)
    assert len(masks) == count
    for mask, weights, (left, top, right, bottom) in zip(masks, coefficients, pixel_windows(boxes), strict=True):
        expected = naive_yolo.assemble_mask(weights, prototypes, affine)[top:bottom, left:right]
        clear = np.abs(expected - threshold) > 1e-5  # float32 sums of 4 terms, interpolated
        assert mask.shape == expected.shape
        np.testing.assert_array_equal(mask[clear], (expected >= threshold)[clear])


def test_a_probability_at_the_threshold_is_inside() -> None:
    (mask,) = assemble_masks(f32([[0]]), EVERYWHERE, f32([[2, 3, 7, 9]]), LETTERBOX, threshold=0.5)
    assert mask.all()


def test_a_mask_has_the_whole_pixels_that_its_box_touches() -> None:
    (mask,) = assemble_masks(f32([[50]]), EVERYWHERE, f32([[2.5, 3.0, 5.5, 6.01]]), LETTERBOX, threshold=0.5)
    assert mask.shape == (4, 4)


def test_a_box_without_pixels_has_an_empty_mask() -> None:
    (mask,) = assemble_masks(f32([[50]]), EVERYWHERE, f32([[20, 3, 20, 9]]), LETTERBOX, threshold=0.5)
    assert mask.shape == (6, 0)


def test_strips_of_any_height_give_the_same_mask() -> None:
    random = np.random.default_rng(0)
    inputs = f32(random.normal(0, 1, (1, 4))), f32(random.normal(0, 1, (4, 6, 8))), f32([[0, 0, 20, 30]])
    (whole,) = assemble_masks(*inputs, LETTERBOX, threshold=0.5)
    with patch.object(masks_prototype, "_STRIP_PIXELS", 70):  # 3 rows of 20
        (strips,) = assemble_masks(*inputs, LETTERBOX, threshold=0.5)
    np.testing.assert_array_equal(strips, whole)
    assert 0 < whole.mean() < 1


def test_sums_beyond_float32_are_refused() -> None:
    huge = np.full((2, 6, 8), 3e38, np.float32)
    with pytest.raises(ModelOutputError, match="sums of prototypes must be finite"):
        assemble_masks(f32([[9, 9]]), huge, f32([[0, 0, 5, 5]]), LETTERBOX, threshold=0.5)


def test_coefficients_of_other_prototypes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one a box and prototype \(2, 4\), got \(2, 3\)"):
        assemble_masks(
            np.zeros((2, 3), np.float32),
            np.zeros((4, 6, 8), np.float32),
            np.zeros((2, 4), np.float32),
            LETTERBOX,
            threshold=0.5,
        )
