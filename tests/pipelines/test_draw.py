"""Overlays show each part of a result, inside the picture, and leave the original alone."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.draw import MASK_OPACITY, color_of, draw
from pipelines.types import Classification, Detections, Embedding, SegmentationMap

GREY = np.full((120, 160, 3), 128, np.uint8)


def one_box(box: tuple[float, float, float, float], **over: object) -> Detections:
    return Detections(
        np.array([box], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int64),
        ("a rather long class name",),
        **over,  # type: ignore[arg-type]
    )


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != GREY).any(axis=2)


def test_a_box_is_drawn_on_its_edges_in_the_colour_of_its_class() -> None:
    drawn = draw(GREY, one_box((40, 50, 100, 110)))
    assert tuple(drawn[80, 40]) == color_of(0)
    assert tuple(drawn[80, 100]) == color_of(0)
    assert not changed(drawn)[80, 70]


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 160, 120), id="whole picture"),
        pytest.param((150, 0, 160, 10), id="top right corner"),
        pytest.param((150, 110, 160, 120), id="bottom right corner"),
        pytest.param((10, 10, 10, 10), id="empty box"),
    ],
)
def test_labels_stay_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    drawn = draw(GREY, one_box(box))
    assert drawn.shape == GREY.shape
    assert (drawn > 230).all(axis=2).sum() > 20  # white ink of the text is there


def test_names_that_would_hide_their_neighbours_are_left_out() -> None:
    lines = Detections(
        boxes=np.array([[10, 40, 150, 46], [10, 52, 150, 58]], np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        class_ids=np.array([0, 0], np.int64),
        labels=("text", "text"),
    )
    where = changed(draw(GREY, lines))
    assert where[40, 80]
    assert not where[:37].any()


def test_landmarks_and_polygons_are_drawn() -> None:
    points = np.array([[[70, 80, 1]]], np.float32)
    outline = (np.array([[40, 60], [100, 70], [90, 110]], np.float32),)
    assert changed(draw(GREY, one_box((40, 50, 100, 110), keypoints=points)))[80, 70]
    assert changed(draw(GREY, one_box((40, 50, 100, 110), polygons=outline)))[65, 70]


SKELETON_POINTS = np.array([[[50, 60, 0.9], [90, 60, 0.3], [90, 100, 0.29]]], np.float32)


def test_keypoints_are_joined_by_the_skeleton_in_the_colour_of_the_class() -> None:
    joined = one_box((40, 50, 100, 110), keypoints=SKELETON_POINTS, skeleton=((0, 1),))
    assert tuple(draw(GREY, joined)[60, 70]) == color_of(0)
    apart = one_box((40, 50, 100, 110), keypoints=SKELETON_POINTS)
    assert not changed(draw(GREY, apart))[60, 70]


def test_keypoints_of_low_score_and_their_lines_are_left_out() -> None:
    drawn = draw(GREY, one_box((40, 50, 110, 115), keypoints=SKELETON_POINTS, skeleton=((0, 1), (1, 2))))
    assert changed(drawn)[60, 90]
    assert not changed(drawn)[80, 90]
    assert not changed(drawn)[100, 90]


def masked(bits: np.ndarray, *, class_id: int = 0) -> Detections:
    """One object at (40, 50) with a mask."""
    height, width = bits.shape
    box = (40, 50, 40 + width, 50 + height)
    return replace(one_box(box, masks=(bits,)), class_ids=np.array([class_id]), labels=())


def test_an_instance_mask_tints_its_pixels_and_no_others() -> None:
    bits = np.zeros((40, 60), np.bool_)
    bits[10:30, 10:50] = True
    drawn = draw(GREY, masked(bits, class_id=3))
    expected = np.rint(128 * (1 - MASK_OPACITY) + np.array(color_of(3)) * MASK_OPACITY)
    np.testing.assert_array_equal(drawn[70, 70], expected)
    assert tuple(drawn[60, 70]) == color_of(3)  # its edge
    outside = changed(drawn)[82:, :]
    assert not outside.any()


def test_a_hole_in_a_mask_stays_clear() -> None:
    bits = np.ones((60, 60), np.bool_)
    bits[20:50, 20:50] = False
    assert not changed(draw(GREY, masked(bits)))[80:90, 70:80].any()


def test_an_object_whose_mask_is_empty_shows_its_box() -> None:
    drawn = draw(GREY, masked(np.zeros((40, 60), np.bool_)))
    assert tuple(drawn[70, 40]) == color_of(0)


def test_a_turned_box_is_drawn_by_its_corners() -> None:
    corners = np.array([[70, 40], [110, 80], [70, 110], [30, 70]], np.float32)
    turned = one_box((30, 40, 110, 110), polygons=(corners,), angles=np.array([0.8], np.float32))
    drawn = changed(draw(GREY, turned))
    assert drawn[60, 90]
    assert not drawn[105, 105]


def test_a_mask_tints_its_own_pixels_only() -> None:
    class_map = np.zeros((120, 160), np.uint8)
    class_map[30:60, 40:80] = 1
    where = changed(draw(GREY, SegmentationMap(class_map)))
    assert where[40:50, 50:70].all()
    assert not where[80:, 100:].any()


def test_a_faint_alpha_tints_faintly() -> None:
    class_map = np.zeros((120, 160), np.uint8)
    alpha = np.zeros((120, 160), np.uint8)
    alpha[:, :80], alpha[:, 80:] = 250, 60
    drawn = draw(GREY, SegmentationMap(class_map, alpha)).astype(int)
    strength = np.abs(drawn - 128).sum(axis=2)
    assert strength[60, 40] > 3 * strength[60, 120] > 0


def test_classes_are_written_on_a_panel_even_where_names_are_too_long() -> None:
    long = Classification(np.array([1], np.int64), np.array([0.5], np.float32), ("x" * 300,))
    assert changed(draw(GREY, long))[:20].any()
    assert changed(draw(GREY, Embedding(np.zeros(4, np.float32)))).any()


def test_drawing_leaves_the_original_alone() -> None:
    original = GREY.copy()
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    assert np.array_equal(draw(GREY, nothing), GREY)
    draw(GREY, one_box((40, 50, 100, 110)))
    assert np.array_equal(GREY, original)


def test_a_one_pixel_picture_can_be_drawn_on() -> None:
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert draw(pixel, one_box((0, 0, 1, 1))).shape == (1, 1, 3)
