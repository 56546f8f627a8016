"""Suppression against the naive loop and torchvision, at ties, at the threshold, and with many classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.nms import batched_nms, best_first, nms
from pipelines.types import FloatArray
from tests import reference
from tests.builders import f32
from tests.crowds import crowd, tied_crowds


@given(tied_crowds(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_nms_equals_the_naive_loop(crowd: tuple[FloatArray, FloatArray, Any], iou_threshold: float) -> None:
    boxes, scores, _ = crowd
    expected = reference.nms(boxes, scores, None, iou_threshold=iou_threshold)
    assert nms(boxes, scores, iou_threshold=iou_threshold).tolist() == expected


@given(tied_crowds(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_batched_nms_equals_the_naive_loop(crowd: tuple[FloatArray, FloatArray, Any], iou_threshold: float) -> None:
    boxes, scores, class_ids = crowd
    kept = batched_nms(
        boxes, scores, class_ids, iou_threshold=iou_threshold, class_agnostic=False, candidates=len(boxes) + 1
    )
    assert kept.tolist() == reference.nms(boxes, scores, class_ids, iou_threshold=iou_threshold)


@pytest.mark.parametrize("count", [127, 128, 129, 700])
def test_nms_equals_the_naive_loop_across_its_blocks(count: int) -> None:
    boxes, scores = crowd(count, seed=count, spread=150)
    assert nms(boxes, scores, iou_threshold=0.4).tolist() == reference.nms(boxes, scores, None, iou_threshold=0.4)


@pytest.mark.parametrize("spread", [60.0, 600.0])
def test_nms_equals_torchvision(spread: float) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    boxes, scores = crowd(5000, seed=1, spread=spread)
    expected = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5)
    assert nms(boxes, scores, iou_threshold=0.5).tolist() == expected.tolist()


@pytest.mark.parametrize("count", [pytest.param(3000, id="pairs at once"), pytest.param(12_000, id="block by block")])
def test_batched_nms_equals_torchvision_class_by_class(count: int) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    boxes, scores = crowd(count, seed=2)
    class_ids = np.random.default_rng(2).integers(0, 80, count)
    tensors = (torch.from_numpy(array) for array in (boxes, scores, class_ids))
    expected = torchvision.ops.boxes._batched_nms_vanilla(*tensors, 0.5)
    kept = batched_nms(boxes, scores, class_ids, iou_threshold=0.5, class_agnostic=False, candidates=count)
    assert kept.tolist() == expected.tolist()


def test_a_box_at_the_threshold_stays() -> None:
    boxes = f32([[0, 0, 10, 10], [0, 0, 10, 5]])  # IoU exactly 0.5
    scores = f32([0.9, 0.8])
    assert nms(boxes, scores, iou_threshold=0.5).tolist() == [0, 1]
    assert nms(boxes, scores, iou_threshold=0.4999).tolist() == [0]


def test_of_equal_scores_the_lower_index_wins() -> None:
    boxes = f32([[0, 0, 10, 10]] * 3)
    assert nms(boxes, f32([0.5, 0.5, 0.5]), iou_threshold=0.5).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = f32([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # each overlaps the next by 6 of 10
    assert nms(boxes, f32([0.9, 0.8, 0.7]), iou_threshold=0.3).tolist() == [0, 2]


def test_classes_suppress_each_other_only_when_asked() -> None:
    boxes, scores = f32([[0, 0, 10, 10]] * 2), f32([0.4, 0.6])
    class_ids = np.array([0, 1])
    common: dict[str, Any] = {"iou_threshold": 0.5, "candidates": 10}
    assert batched_nms(boxes, scores, class_ids, class_agnostic=False, **common).tolist() == [1, 0]
    assert batched_nms(boxes, scores, class_ids, class_agnostic=True, **common).tolist() == [1]


def test_many_classes_on_a_large_image_lose_no_precision() -> None:
    # Shifting class 4,999 by its own 20,000 pixels in float32 would round these corners to a multiple of 8 and make
    # the two boxes equal.
    boxes = f32([[19000, 19000, 19003, 19003], [19002, 19002, 19005, 19005]])
    kept = batched_nms(
        boxes,
        f32([0.9, 0.8]),
        np.array([4999, 4999]),
        iou_threshold=0.5,
        class_agnostic=False,
        candidates=10,
    )
    assert kept.tolist() == [0, 1]


def test_only_the_best_candidates_enter() -> None:
    boxes = f32([[i * 20, 0, i * 20 + 10, 10] for i in range(4)])
    scores = f32([0.2, 0.9, 0.5, 0.7])
    kept = batched_nms(boxes, scores, np.zeros(4, int), iou_threshold=0.5, class_agnostic=False, candidates=2)
    assert kept.tolist() == [1, 3]


@pytest.mark.parametrize("class_agnostic", [True, False])
def test_no_boxes_give_no_boxes(class_agnostic: bool) -> None:
    boxes, scores = np.empty((0, 4), np.float32), np.empty(0, np.float32)
    kept = batched_nms(boxes, scores, np.empty(0, int), iou_threshold=0.5, class_agnostic=class_agnostic, candidates=5)
    assert kept.tolist() == nms(boxes, scores, iou_threshold=0.5).tolist() == []


def test_nms_is_the_same_whatever_the_order_of_the_boxes() -> None:
    boxes, scores = crowd(400, seed=3)
    shuffle = np.random.default_rng(3).permutation(400)
    kept = shuffle[nms(boxes[shuffle], scores[shuffle], iou_threshold=0.4)]
    np.testing.assert_array_equal(kept, nms(boxes, scores, iou_threshold=0.4))


@given(
    st.integers(0, 30).flatmap(lambda n: arrays(np.float32, n, elements=st.sampled_from([0.1, 0.2, 0.3, 0.4]))),
    st.one_of(st.none(), st.integers(1, 40)),
)
def test_best_first_equals_a_stable_sort(scores: FloatArray, limit: int | None) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:limit]
    assert best_first(scores, limit).tolist() == expected
