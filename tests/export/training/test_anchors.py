"""Anchors found by k-means on IoU."""

from __future__ import annotations

import numpy as np
import pytest

from export.training.anchors import cluster_anchors, mean_best_iou, shape_iou
from tests.reference import iou


def test_shape_iou_is_that_of_boxes_at_one_corner() -> None:
    shapes = np.random.default_rng(0).uniform(1, 50, (6, 2))
    for i, a in enumerate(shapes):
        for j, b in enumerate(shapes):
            expected = iou(np.array([0, 0, *a]), np.array([0, 0, *b]))
            assert shape_iou(shapes, shapes)[i, j] == pytest.approx(expected)


def test_anchors_are_the_shapes_that_boxes_have() -> None:
    rng = np.random.default_rng(0)
    true = np.array([[10, 12], [40, 20], [60, 90]], np.float64)
    shapes = np.concatenate([shape * rng.uniform(0.97, 1.03, (50, 2)) for shape in true])
    found = cluster_anchors(shapes, 3, np.random.default_rng(1))
    np.testing.assert_allclose(found, true, rtol=0.02)  # medians of 50 draws within 3 %
    assert mean_best_iou(shapes, found) > 0.95


def test_anchors_are_the_same_for_the_same_seed_and_sorted_by_area() -> None:
    shapes = np.random.default_rng(3).uniform(4, 80, (200, 2))
    first, second = (cluster_anchors(shapes, 6, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (np.diff(first.prod(axis=1)) >= 0).all()


def test_there_must_be_as_many_shapes_as_anchors() -> None:
    with pytest.raises(ValueError, match="at least 3 different box shapes, got 1"):
        cluster_anchors(np.ones((9, 2)), 3, np.random.default_rng(0))
