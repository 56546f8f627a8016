"""Suppression by distance IoU against the naive loop and torchvision's own measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.diou_nms import diou_nms
from pipelines.nms import batched_nms
from pipelines.types import AnyArray, FloatArray
from tests import reference
from tests.builders import f32
from tests.crowds import crowd, tied_crowds


@given(tied_crowds(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
def test_it_equals_the_naive_loop(
    crowd: tuple[FloatArray, FloatArray, Any], iou_threshold: float, class_agnostic: bool
) -> None:
    boxes, scores, class_ids = crowd
    boxes = np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4)  # distance IoU is defined for corners in order
    expected = reference.nms(
        boxes,
        scores,
        None if class_agnostic else class_ids,
        iou_threshold=iou_threshold,
        overlap=reference.diou,
    )
    kept = diou_nms(
        boxes, scores, class_ids, iou_threshold=iou_threshold, class_agnostic=class_agnostic, candidates=100
    )
    assert kept.tolist() == expected


def test_it_equals_a_greedy_loop_over_torchvision_s_distance_iou() -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    boxes, scores = crowd(600, seed=4)
    tensor = torch.from_numpy(boxes.astype(np.float64))
    table = ops.distance_box_iou(tensor, tensor).numpy()

    def overlap(a: AnyArray, b: AnyArray) -> float:
        return table[a, b]

    places = np.arange(600)
    expected = reference.nms(places, scores, None, iou_threshold=0.4, overlap=overlap)
    kept = diou_nms(boxes, scores, np.zeros(600, int), iou_threshold=0.4, class_agnostic=False, candidates=600)
    assert kept.tolist() == expected


def test_a_neighbour_whose_centre_lies_apart_is_spared() -> None:
    # IoU 6 / 14 = 0.43; centres 4 apart in an enclosing box of 14 x 10: 0.43 - 16 / 296 = 0.37
    boxes, scores, class_ids = f32([[0, 0, 10, 10], [4, 0, 14, 10]]), f32([0.9, 0.8]), np.zeros(2, int)
    for threshold, count in ((0.38, 2), (0.37, 1)):
        kept = diou_nms(boxes, scores, class_ids, iou_threshold=threshold, class_agnostic=False, candidates=10)
        assert len(kept) == count
    assert len(batched_nms(boxes, scores, class_ids, iou_threshold=0.38, class_agnostic=False, candidates=10)) == 1


def test_only_the_best_candidates_enter() -> None:
    boxes, scores = f32([[i * 20, 0, i * 20 + 10, 10] for i in range(4)]), f32([0.2, 0.9, 0.5, 0.7])
    kept = diou_nms(boxes, scores, np.zeros(4, int), iou_threshold=0.5, class_agnostic=False, candidates=2)
    assert kept.tolist() == [1, 3]


def test_no_boxes_give_no_boxes() -> None:
    kept = diou_nms(
        np.empty((0, 4), np.float32),
        np.empty(0, np.float32),
        np.empty(0, int),
        iou_threshold=0.5,
        class_agnostic=False,
        candidates=5,
    )
    assert kept.tolist() == []
