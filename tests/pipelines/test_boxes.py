"""Box maths against naive loops, on random, degenerate and no boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.boxes import (
    area,
    ciou_matrix,
    clip,
    cxcywh_to_xyxy,
    diou_matrix,
    giou_matrix,
    ioa,
    iou,
    iou_matrix,
    may_overlap,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from pipelines.types import AnyArray, FloatArray
from tests import reference
from tests.builders import f32

# Quarters of a pixel: sums and halves are exact in float32, so inverses can be compared to the bit.
QUARTERS = st.integers(-400, 400).map(lambda n: n / 4)
BOXES = st.integers(0, 6).flatmap(lambda n: arrays(np.float32, (n, 4), elements=QUARTERS))
# Corners in order, of boxes with and without width and height.
ORDERED = BOXES.map(lambda boxes: np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4))
Matrix = Callable[[AnyArray, AnyArray], AnyArray]


@given(BOXES)
def test_conversions_undo_each_other(boxes: FloatArray) -> None:
    np.testing.assert_array_equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    np.testing.assert_array_equal(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)
    np.testing.assert_array_equal(xyxy_to_xywh(xywh_to_xyxy(boxes)), boxes)


def test_center_and_size_become_corners() -> None:
    assert cxcywh_to_xyxy(f32([[10, 20, 4, 6]])).tolist() == [[8, 17, 12, 23]]


def test_corner_and_size_become_corners() -> None:
    assert xywh_to_xyxy(f32([[10, 20, 4, 6]])).tolist() == [[10, 20, 14, 26]]


@pytest.mark.parametrize("convert", [cxcywh_to_xyxy, xyxy_to_cxcywh, xywh_to_xyxy, xyxy_to_xywh])
def test_conversions_stay_float32(convert: Callable[[FloatArray], FloatArray]) -> None:
    assert convert(np.zeros((2, 4), np.float32)).dtype == np.float32


@given(BOXES, BOXES)
def test_iou_matrix_equals_the_naive_loop(a: FloatArray, b: FloatArray) -> None:
    expected = np.array([[reference.iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(iou_matrix(a, b), expected, rtol=1e-12)  # float64, in another order


def test_iou_of_pairs_is_the_diagonal_of_the_matrix() -> None:
    boxes = f32([[0, 0, 10, 10], [5, 5, 20, 20]])
    others = f32([[0, 0, 5, 10], [5, 5, 20, 10]])
    np.testing.assert_array_equal(iou(boxes, others), np.diag(iou_matrix(boxes, others)))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([5, 5, 5, 9], id="no width"),
        pytest.param([5, 5, 9, 5], id="no height"),
        pytest.param([5, 5, 5, 5], id="a point"),
        pytest.param([9, 9, 5, 5], id="inside out"),
    ],
)
def test_a_box_without_area_overlaps_nothing(box: list[float]) -> None:
    boxes = f32([box, [0, 0, 20, 20]])
    assert area(boxes).tolist() == [0, 400]
    assert iou_matrix(boxes, boxes).tolist() == [[0, 0], [0, 1]]


def test_iou_is_exact_far_from_the_origin() -> None:
    # In float32 the area of the larger box and its union would be rounded to a multiple of 64.
    boxes = f32([[30000, 30000, 60001, 60001], [30000, 30000, 60001, 60002]])
    assert iou_matrix(boxes[:1], boxes[1:])[0, 0] == (30001 * 30001) / (30001 * 30002)


@given(BOXES, BOXES)
def test_boxes_that_may_not_overlap_have_iou_zero(a: FloatArray, b: FloatArray) -> None:
    assert (iou_matrix(a, b)[~may_overlap(a, b)] == 0).all()


def test_proper_boxes_that_may_overlap_do() -> None:
    corners = np.random.default_rng(0).uniform(0, 50, (60, 2))
    boxes = np.concatenate((corners, corners + 8), axis=1).astype(np.float32)
    np.testing.assert_array_equal(may_overlap(boxes, boxes), iou_matrix(boxes, boxes) > 0)


def test_clip_moves_corners_to_the_nearest_edge() -> None:
    boxes = f32([[-5, -6, 30, 40], [2, 3, 4, 5]])
    assert clip(boxes, (20, 10)).tolist() == [[0, 0, 10, 20], [2, 3, 4, 5]]


def test_clip_empties_a_box_outside() -> None:
    assert area(clip(f32([[50, 50, 60, 60], [-9, 2, -1, 8]]), (20, 10))).tolist() == [0, 0]


def test_clip_brings_infinite_corners_to_the_edges() -> None:
    assert clip(f32([[-np.inf, 0, np.inf, 5]]), (20, 10)).tolist() == [[0, 0, 10, 5]]


@given(BOXES)
def test_clip_twice_is_clip_once(boxes: FloatArray) -> None:
    once = clip(boxes, (60, 40))
    assert once.dtype == np.float32
    np.testing.assert_array_equal(clip(once, (60, 40)), once)


def ioa_matrix(a: AnyArray, b: AnyArray) -> AnyArray:
    return ioa(a[:, None, :], b[None, :, :])


@pytest.mark.parametrize(
    ("matrix", "naive"),
    [
        (ioa_matrix, reference.ioa),
        (giou_matrix, reference.giou),
        (diou_matrix, reference.diou),
        (ciou_matrix, reference.ciou),
    ],
)
@given(ORDERED, ORDERED)
def test_a_measure_equals_the_naive_loop(
    matrix: Matrix, naive: Callable[[AnyArray, AnyArray], float], a: FloatArray, b: FloatArray
) -> None:
    expected = np.array([[naive(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(matrix(a, b), expected, rtol=0, atol=1e-12)  # float64, in another order


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (iou_matrix, "box_iou"),
        (giou_matrix, "generalized_box_iou"),
        (diou_matrix, "distance_box_iou"),
        (ciou_matrix, "complete_box_iou"),
    ],
)
def test_a_measure_equals_torchvision_s(matrix: Matrix, name: str) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    corners = np.random.default_rng(0).uniform(0, 60, (80, 2))
    sizes = np.random.default_rng(1).uniform(1, 40, (80, 2))
    boxes = np.concatenate((corners, corners + sizes), axis=1)
    a, b = boxes[:50], boxes[50:]
    expected = getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    # torchvision adds 1e-7 to the squared diagonal (1 or more here) and to the divisor of alpha; we add nothing.
    np.testing.assert_allclose(matrix(a, b), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("matrix", [iou_matrix, giou_matrix, diou_matrix, ciou_matrix])
@given(ORDERED, ORDERED)
def test_a_measure_is_symmetric_and_at_most_the_iou(matrix: Matrix, a: FloatArray, b: FloatArray) -> None:
    np.testing.assert_allclose(matrix(a, b), matrix(b, a).T, rtol=0, atol=1e-15)  # sums in another order
    assert (matrix(a, b) <= iou_matrix(a, b)).all()


@pytest.mark.parametrize("matrix", [giou_matrix, diou_matrix, ciou_matrix])
def test_only_equal_boxes_reach_one(matrix: Matrix) -> None:
    boxes = f32([[0, 0, 10, 10], [0, 0, 10, 9.5], [1, 0, 11, 10]])
    assert ((matrix(boxes, boxes) == 1) == np.eye(3, dtype=bool)).all()


def test_boxes_far_apart_are_told_apart_where_their_iou_is_zero() -> None:
    here, near, far = f32([[0, 0, 10, 10]]), f32([[20, 0, 30, 10]]), f32([[80, 0, 90, 10]])
    for matrix in (giou_matrix, diou_matrix, ciou_matrix):
        assert 0 > matrix(here, near)[0, 0] > matrix(here, far)[0, 0] > -1


def test_measures_by_hand() -> None:
    # intersection 5 x 10, union 150, enclosing box 15 x 10; centres 5 apart, diagonal squared 325; one shape.
    a, b = f32([[0, 0, 10, 10]]), f32([[5, 0, 15, 10]])
    assert giou_matrix(a, b)[0, 0] == pytest.approx(1 / 3)
    assert diou_matrix(a, b)[0, 0] == pytest.approx(1 / 3 - 25 / 325)
    assert ciou_matrix(a, b)[0, 0] == diou_matrix(a, b)[0, 0]
    assert ioa(a, f32([[0, 0, 20, 5]])).tolist() == [0.5]
    assert ioa(f32([[0, 0, 20, 5]]), a).tolist() == [0.5]
