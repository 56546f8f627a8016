"""Augmentation: pixels, boxes, masks and landmarks go the same way, whichever way that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.training.augment import Augment, Scene, augment
from export.training.augment.warp import OUTSIDE, move_boxes, scaled, shifted, turned, warp

BOX = (30, 20, 62, 44)
HW = (80, 100)


def scene(box: tuple[int, int, int, int] = BOX) -> Scene:
    """Black but for one white box, which is also the mask's class 1; landmarks at the middle of its left and right."""
    x1, y1, x2, y2 = box
    image = np.zeros((*HW, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    middle = (y1 + y2) / 2
    return Scene(
        image=image,
        boxes=np.array([box], np.float32),
        class_ids=np.array([7]),
        mask=(image[..., 0] > 0).astype(np.uint8),
        points=np.array([[x1, middle], [x2, middle]], np.float32),
        mirrored=(1, 0),
    )


def bounds(shown: Any) -> np.ndarray[Any, Any]:
    """Corners of what is set."""
    y, x = np.nonzero(shown)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


specs = st.builds(
    Augment,
    flip_horizontal=st.sampled_from([0.0, 0.5, 1.0]),
    flip_vertical=st.sampled_from([0.0, 1.0]),
    quarter_turns=st.booleans(),
    scale=st.sampled_from([(1.0, 1.0), (0.6, 1.5)]),
    translate=st.sampled_from([0.0, 0.2]),
    crop_hw=st.sampled_from([None, (64, 64), (48, 96)]),
    fill=st.just(0),
)


@settings(max_examples=60)
@given(spec=specs, seed=st.integers(0, 2**16))
def test_box_and_mask_show_where_the_pixels_went(spec: Augment, seed: int) -> None:
    moved = augment(scene(), spec, np.random.default_rng(seed))
    assert moved.mask is not None
    assert moved.image.shape[:2] == moved.mask.shape == moved.hw
    np.testing.assert_array_equal(moved.class_ids, [7] * len(moved.boxes))
    if not len(moved.boxes):
        return
    # A pixel of interpolation at each side; the box is continuous, the pixels are whole.
    np.testing.assert_allclose(moved.boxes[0], bounds(moved.image[..., 0] > 127), atol=1.01)
    np.testing.assert_allclose(moved.boxes[0], bounds(moved.mask == 1), atol=1.01)


@settings(max_examples=40)
@given(degrees=st.floats(-180, 180), seed=st.integers(0, 2**16))
def test_a_turned_box_holds_its_pixels(degrees: float, seed: int) -> None:
    moved = augment(scene(), Augment(rotate_degrees=abs(degrees), fill=0), np.random.default_rng(seed))
    if len(moved.boxes):
        x1, y1, x2, y2 = bounds(moved.image[..., 0] > 127)
        left, top, right, bottom = moved.boxes[0]
        assert left <= x1 + 1
        assert top <= y1 + 1
        assert right >= x2 - 1
        assert bottom >= y2 - 1


def test_nothing_is_changed_by_default() -> None:
    before = scene()
    after = augment(before, Augment(), np.random.default_rng(0))
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.boxes, before.boxes)


def test_a_mirror_image_is_exact_and_twice_is_once_back() -> None:
    before, spec = scene(), Augment(flip_horizontal=1.0)
    once = augment(before, spec, np.random.default_rng(0))
    np.testing.assert_array_equal(once.image, before.image[:, ::-1])
    np.testing.assert_array_equal(once.boxes, [[38, 20, 70, 44]])
    twice = augment(once, spec, np.random.default_rng(0))
    np.testing.assert_array_equal(twice.image, before.image)
    np.testing.assert_array_equal(twice.boxes, before.boxes)


def test_a_mirror_image_swaps_left_and_right_landmarks() -> None:
    moved = augment(scene(), Augment(flip_horizontal=1.0), np.random.default_rng(0))
    assert moved.points is not None
    np.testing.assert_array_equal(moved.points, [[38, 32], [70, 32]])  # still left of the box, then right of it.


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters: int) -> None:
    before = scene()
    matrix = {1: shifted(HW[0], 0), 2: shifted(HW[1], HW[0]), 3: shifted(0, HW[1])}[quarters] @ turned(90.0 * quarters)
    out_hw = HW if quarters == 2 else HW[::-1]
    moved = warp(before, matrix, out_hw, fill=0, min_visible=0.5)
    np.testing.assert_array_equal(moved.image, np.rot90(before.image, -quarters))
    np.testing.assert_allclose(moved.boxes[0], bounds(moved.image[..., 0]))


def test_a_box_goes_when_too_little_of_it_is_left() -> None:
    half = shifted(-46, 0)
    assert len(warp(scene(), half, HW, fill=0, min_visible=0.4).boxes) == 1
    assert len(warp(scene(), half, HW, fill=0, min_visible=0.6).boxes) == 0


def test_outside_the_image_is_fill_and_no_class() -> None:
    moved = warp(scene(), shifted(50, 0), HW, fill=114, min_visible=0)
    assert moved.mask is not None
    assert (moved.image[:, :50] == 114).all()
    assert (moved.mask[:, :50] == OUTSIDE).all()


def test_scenes_without_boxes_stay_without() -> None:
    moved = augment(Scene(image=scene().image), Augment(scale=(0.5, 2.0)), np.random.default_rng(0))
    assert moved.boxes.shape == (0, 4)
    assert move_boxes(moved.boxes, scaled(2, 2)).shape == (0, 4)


def test_colours_change_and_places_do_not() -> None:
    spec = Augment(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1)
    before = Scene(image=np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8), boxes=scene().boxes)
    after = augment(before, spec, np.random.default_rng(1))
    assert (after.image != before.image).mean() > 0.5
    assert after.boxes is before.boxes


def test_a_grey_image_stays_grey_under_saturation() -> None:
    before = Scene(image=np.repeat(np.random.default_rng(0).integers(0, 255, (*HW, 1), dtype=np.uint8), 3, axis=2))
    after = augment(before, Augment(saturation=1.0), np.random.default_rng(1)).image.astype(int)
    assert np.abs(after - after[..., :1]).max() <= 1
