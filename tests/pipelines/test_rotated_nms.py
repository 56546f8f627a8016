"""Boxes that turn: their overlap against OpenCV, unturned boxes and by hand; suppression against the naive loop."""

from __future__ import annotations

import math
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.boxes import iou
from pipelines.nms import batched_nms
from pipelines.rotated_nms import rotated_iou, rotated_nms
from pipelines.types import FloatArray
from tests.builders import f32
from tests.pipelines.decoders.naive_yolo import rotated_corners

UNIT = f32([[[0, 0], [1, 0], [1, 1], [0, 1]]])


def turned(seed: int, count: int) -> FloatArray:
    """Corners ``(count, 4, 2)`` of crowded boxes that turn any way."""
    random = np.random.default_rng(seed)
    centers, sides = random.uniform(0, 60, (count, 2)), random.uniform(2, 40, (count, 2))
    angles = random.uniform(-4, 4, count)
    boxes = [rotated_corners(*c, *s, a) for c, s, a in zip(centers.tolist(), sides.tolist(), angles, strict=True)]
    return f32(boxes).reshape(-1, 4, 2)


def boxes_of(corners: FloatArray) -> FloatArray:
    return np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)


@given(st.integers(0, 10_000))
def test_overlap_equals_that_of_opencv(seed: int) -> None:
    a, b = turned(seed, 8), turned(seed + 1, 8)
    expected = []
    for one, other in zip(a, b, strict=True):
        shared, _ = cv2.intersectConvexConvex(one, other)
        expected.append(shared / (cv2.contourArea(one) + cv2.contourArea(other) - shared))
    np.testing.assert_allclose(rotated_iou(a, b), expected, atol=1e-5)  # float32 there


@given(st.integers(0, 10_000))
def test_overlap_is_symmetric_and_that_of_a_box_with_itself_is_one(seed: int) -> None:
    a, b = turned(seed, 6), turned(seed + 1, 6)
    np.testing.assert_allclose(rotated_iou(a, b), rotated_iou(b, a), atol=1e-5)  # float32 corners
    np.testing.assert_allclose(rotated_iou(a, a), np.ones(6), atol=1e-4)  # of sides from 2 px at 60 px


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=2, max_size=6))
def test_unturned_boxes_overlap_as_boxes_do(rows: list[tuple[int, ...]]) -> None:
    boxes = f32([[min(x, u), min(y, v), max(x, u), max(y, v)] for x, y, u, v in rows])
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    expected = iou(boxes, boxes[::-1])  # integers: touching, equal and flat boxes abound
    np.testing.assert_allclose(rotated_iou(corners, corners[::-1]), expected, atol=1e-12)


def test_a_square_turned_by_an_eighth_shares_an_octagon() -> None:
    square = f32([rotated_corners(0, 0, 1, 1, math.pi / 4)])
    octagon = 2 * (math.sqrt(2) - 1)
    np.testing.assert_allclose(rotated_iou(UNIT - f32(0.5), square), octagon / (2 - octagon), atol=1e-6)


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 2, 3, 0]], ids=["other way around", "other first corner"])
def test_the_order_of_the_corners_does_not_matter(order: list[int]) -> None:
    a, b = turned(0, 20), turned(1, 20)
    np.testing.assert_allclose(rotated_iou(a[:, order], b), rotated_iou(a, b), atol=1e-5)  # float32 corners
    np.testing.assert_allclose(rotated_iou(a, b[:, order]), rotated_iou(a, b), atol=1e-5)


def test_a_box_without_area_overlaps_nothing() -> None:
    flat = f32([[[0, 0], [1, 1], [1, 1], [0, 0]]])
    assert rotated_iou(flat, UNIT) == 0
    assert rotated_iou(UNIT, flat) == 0


@pytest.mark.parametrize("block", [4, 64], ids=["many blocks", "one block"])
@given(st.integers(0, 10_000), st.integers(0, 25), st.sampled_from([0.0, 0.2, 0.6]), st.booleans())
def test_suppression_equals_the_naive_loop(
    block: int, seed: int, count: int, threshold: float, class_agnostic: bool
) -> None:
    random = np.random.default_rng(seed)
    corners, class_ids = turned(seed, count), random.integers(0, 3, count)
    scores = f32(random.integers(0, 8, count) / 8)
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-scores[i], i))[:20]:
        rivals = [j for j in kept if class_agnostic or class_ids[i] == class_ids[j]]
        if all(rotated_iou(corners[[j]], corners[[i]])[0] <= threshold for j in rivals):
            kept.append(i)
    with patch.multiple("pipelines.rotated_nms", _BLOCK=block, _PAIRS=3):
        found = rotated_nms(
            corners, scores, class_ids, iou_threshold=threshold, class_agnostic=class_agnostic, candidates=20
        )
    assert found.tolist() == kept


def test_crossing_boxes_stay_whose_bounds_would_suppress_each_other() -> None:
    cross = f32([rotated_corners(50, 50, 80, 4, angle) for angle in (0.7, -0.7)])
    scores, class_ids = f32([0.9, 0.8]), np.zeros(2, np.int64)
    rules = {"iou_threshold": 0.5, "class_agnostic": False, "candidates": 9}
    assert rotated_nms(cross, scores, class_ids, **rules).tolist() == [0, 1]
    assert batched_nms(boxes_of(cross), scores, class_ids, **rules).tolist() == [0]
