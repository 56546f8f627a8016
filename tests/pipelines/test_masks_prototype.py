"""Masks from prototypes: the naive loop, the crop, and what does not belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.masks_prototype import assemble_masks
from tests.builders import f32
from tests.pipelines.decoders import naive_yolo

ROW_HW = (24, 32)


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_masks_equal_the_naive_loop(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    coefficients = f32(random.normal(0, 1, (count, 4)))
    prototypes = f32(random.normal(0, 1, (4, 6, 8)))
    starts = random.uniform(-8, 24, (count, 2))
    boxes = f32(np.concatenate((starts, starts + random.uniform(0, 20, (count, 2))), axis=1))
    masks = assemble_masks(coefficients, prototypes, boxes, ROW_HW)
    assert masks.shape == (count, *ROW_HW)
    assert masks.dtype == np.float32
    for mask, weights, box in zip(masks, coefficients, boxes, strict=True):
        expected = naive_yolo.assemble_mask(weights, prototypes, box, ROW_HW)
        np.testing.assert_allclose(mask, expected, atol=1e-5)  # float32 sums of 4 terms, interpolated


def test_a_pixel_belongs_to_the_box_that_holds_its_centre() -> None:
    masks = assemble_masks(f32([[50.0]]), np.ones((1, 6, 8), np.float32), f32([[2.5, 3.51, 5.5, 6.49]]), ROW_HW)
    y, x = np.nonzero(masks[0])
    assert (x.min(), x.max(), y.min(), y.max()) == (2, 4, 4, 5)


def test_a_box_outside_the_row_has_an_empty_mask() -> None:
    masks = assemble_masks(f32([[50.0]]), np.ones((1, 6, 8), np.float32), f32([[-9, -9, -1, -1]]), ROW_HW)
    assert not masks.any()


def test_coefficients_of_other_prototypes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one a box and prototype \(2, 4\), got \(2, 3\)"):
        assemble_masks(
            np.zeros((2, 3), np.float32), np.zeros((4, 6, 8), np.float32), np.zeros((2, 4), np.float32), ROW_HW
        )
