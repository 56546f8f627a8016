"""Soft suppression against the paper's loop and the ensemble-boxes package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.nms import batched_nms
from pipelines.soft_nms import Decay, gaussian_decay, linear_decay, soft_nms
from pipelines.types import FloatArray
from tests import reference
from tests.builders import f32
from tests.crowds import crowd, tied_crowds

LINEAR, GAUSSIAN = linear_decay(0.3), gaussian_decay(0.5)
DECAYS = {
    "linear": (LINEAR, lambda overlap: 1 - overlap if overlap > 0.3 else 1.0),
    "gaussian": (GAUSSIAN, lambda overlap: math.exp(-overlap * overlap / 0.5)),
}


def run(boxes: FloatArray, scores: FloatArray, class_ids: Any = None, **over: Any) -> tuple[list[int], FloatArray]:
    fields = {"decay": GAUSSIAN, "score_threshold": 0.0, "class_agnostic": False, "candidates": 1000}
    ids = np.zeros(len(boxes), int) if class_ids is None else class_ids
    kept, final = soft_nms(boxes, scores, ids, **fields | over)
    return kept.tolist(), final


@pytest.mark.parametrize("name", DECAYS)
@given(crowd=tied_crowds(), score_threshold=st.sampled_from([0.0, 0.3, 0.5]), class_agnostic=st.booleans())
def test_it_equals_the_paper_s_loop(
    name: str, crowd: tuple[FloatArray, FloatArray, Any], score_threshold: float, class_agnostic: bool
) -> None:
    boxes, scores, class_ids = crowd
    decay, factor = DECAYS[name]
    groups = np.zeros_like(class_ids) if class_agnostic else class_ids
    taken = reference.soft_nms(boxes, scores, groups, factor=factor, score_threshold=score_threshold)
    kept, final = run(
        boxes, scores, class_ids, decay=decay, score_threshold=score_threshold, class_agnostic=class_agnostic
    )
    # Scores that differ in the last bit of float64 are equal in float32, where ties go to the lower index.
    expected = sorted(taken, key=lambda pair: (-np.float32(pair[1]), pair[0]))
    assert kept == [i for i, _ in expected]
    np.testing.assert_allclose(final, [score for _, score in expected], rtol=1e-6)  # float32 has 24 bits


@pytest.mark.parametrize(("method", "decay"), [(1, linear_decay(0.45)), (2, gaussian_decay(0.4))])
def test_it_equals_ensemble_boxes(method: int, decay: Decay) -> None:
    from ensemble_boxes.ensemble_boxes_nms import cpu_soft_nms_float

    boxes, scores = crowd(300, seed=5)
    wide, changed = boxes.astype(np.float64), scores.astype(np.float64)
    # The package's function writes the decayed scores into its argument, in the order in which it takes the boxes.
    taken = cpu_soft_nms_float(wide, changed, Nt=0.45, sigma=0.4, thresh=0.05, method=method)
    kept, final = run(boxes, scores, decay=decay, score_threshold=0.05)
    assert 20 < len(kept) < 300
    assert kept == taken.tolist()
    np.testing.assert_allclose(final, changed[changed > 0.05], rtol=1e-6)  # float32 has 24 bits


def test_scores_decay_by_hand() -> None:
    # IoU of neighbours 6 / 14 = 3 / 7, of the outer two 2 / 18 = 1 / 9
    boxes, scores = f32([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]), f32([0.9, 0.8, 0.7])
    kept, final = run(boxes, scores, decay=LINEAR)
    assert kept == [0, 2, 1]
    np.testing.assert_allclose(final, [0.9, 0.7, 0.8 * 4 / 7 * 4 / 7], rtol=1e-6)  # float32 has 24 bits


def test_a_box_at_the_iou_threshold_keeps_its_score() -> None:
    boxes = f32([[0, 0, 10, 10], [0, 0, 10, 5]])  # IoU exactly 0.5
    assert run(boxes, f32([0.75, 0.5]), decay=linear_decay(0.5))[1].tolist() == [0.75, 0.5]


def test_a_box_at_the_score_threshold_stays() -> None:
    # In float64 the float32 score 0.7 is below 0.7.
    assert run(f32([[0, 0, 10, 10]]), f32([0.7]), score_threshold=0.7)[0] == [0]


def test_a_box_that_fell_below_the_threshold_lets_nothing_decay() -> None:
    boxes, scores = f32([[0, 0, 10, 10], [0, 0, 10, 10], [0, 4, 10, 14]]), f32([0.9, 0.8, 0.7])
    kept, final = run(boxes, scores, decay=LINEAR, score_threshold=0.1)
    assert kept == [0, 2]
    np.testing.assert_allclose(final, [0.9, 0.7 * 4 / 7], rtol=1e-6)  # float32 has 24 bits


def test_classes_decay_by_each_other_only_when_asked() -> None:
    boxes, scores, class_ids = f32([[0, 0, 10, 10]] * 2), f32([0.5, 0.75]), np.array([0, 1])
    assert run(boxes, scores, class_ids)[1].tolist() == [0.75, 0.5]
    decayed = run(boxes, scores, class_ids, class_agnostic=True)[1]
    np.testing.assert_allclose(decayed, [0.75, 0.5 * math.exp(-2)], rtol=1e-6)  # float32 has 24 bits


def test_only_the_best_candidates_enter() -> None:
    boxes = f32([[i * 20, 0, i * 20 + 10, 10] for i in range(4)])
    assert run(boxes, f32([0.2, 0.9, 0.5, 0.7]), candidates=2)[0] == [1, 3]


def test_boxes_that_do_not_overlap_keep_scores_and_order_of_hard_suppression() -> None:
    boxes = f32([[i * 20, 0, i * 20 + 10, 10] for i in range(50)])
    scores = f32(np.random.default_rng(6).choice([0.25, 0.5, 0.75], 50))
    kept, final = run(boxes, scores)
    hard = batched_nms(boxes, scores, np.zeros(50, int), iou_threshold=0.5, class_agnostic=False, candidates=50)
    assert kept == hard.tolist()
    np.testing.assert_array_equal(final, scores[kept])


def test_no_boxes_give_no_boxes() -> None:
    kept, final = run(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    assert kept == []
    assert final.dtype == np.float32


def test_scores_are_not_changed_in_place() -> None:
    scores = f32([0.9, 0.8])
    run(f32([[0, 0, 10, 10]] * 2), scores)
    np.testing.assert_array_equal(scores, f32([0.9, 0.8]))
