"""Box fusion against the ensemble-boxes package, a naive loop and hand-computed boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.box_fusion import weighted_box_fusion
from pipelines.types import FloatArray
from tests import reference
from tests.builders import f32
from tests.crowds import crowd, tied_crowds

Set = tuple[FloatArray, FloatArray, Any]


def fuse(sets: Sequence[Set], **over: Any) -> tuple[FloatArray, FloatArray, Any]:
    boxes, scores, class_ids = zip(*sets, strict=True)
    return weighted_box_fusion(boxes, scores, class_ids, **{"iou_threshold": 0.5} | over)


def naive(sets: Sequence[Set], iou_threshold: float) -> list[tuple[list[float], float, int]]:
    """Clusters as lists of members; each fused box is computed from all of them, every time."""
    everything = [(float(score), box, int(class_id)) for one in sets for box, score, class_id in zip(*one, strict=True)]
    clusters: list[list[tuple[float, FloatArray, int]]] = []

    def mean(cluster: list[tuple[float, FloatArray, int]]) -> list[float]:
        total = sum(score for score, _, _ in cluster)
        return [sum(score * float(box[k]) for score, box, _ in cluster) / total for k in range(4)]

    for member in sorted(everything, key=lambda one: -one[0]):
        rivals = [c for c in clusters if c[0][2] == member[2] and reference.iou(mean(c), member[1]) > iou_threshold]
        if rivals:
            max(rivals, key=lambda c: reference.iou(mean(c), member[1])).append(member)
        else:
            clusters.append([member])
    fused = []
    for cluster in clusters:
        score = sum(one[0] for one in cluster) / len(cluster) * min(len(cluster), len(sets)) / len(sets)
        fused.append((mean(cluster), score, cluster[0][2]))
    return sorted(fused, key=lambda one: -np.float32(one[1]))


@given(st.lists(tied_crowds(), min_size=1, max_size=3), st.sampled_from([0.05, 0.45, 0.9]))
def test_it_equals_the_naive_loop(sets: list[Set], iou_threshold: float) -> None:
    boxes, scores, class_ids = fuse(sets, iou_threshold=iou_threshold)
    expected = naive(sets, iou_threshold)
    np.testing.assert_allclose(boxes, np.reshape([box for box, _, _ in expected], (-1, 4)), rtol=1e-6)  # float32
    np.testing.assert_allclose(scores, [score for _, score, _ in expected], rtol=1e-6)  # float32
    assert class_ids.tolist() == [class_id for _, _, class_id in expected]


@pytest.mark.parametrize(("confidence", "conf_type"), [("average", "avg"), ("max", "max")])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_it_equals_ensemble_boxes(confidence: str, conf_type: str, weights: list[float] | None) -> None:
    from ensemble_boxes import weighted_boxes_fusion

    sets = [
        (*crowd(count, seed=seed, spread=120), np.random.default_rng(seed).integers(0, 3, count))
        for seed, count in ((7, 60), (8, 45), (9, 70))
    ]
    sets = [(boxes, scores * np.float32(0.9) + np.float32(0.05 + 1e-4 * i), ids) for i, (boxes, scores, ids) in
            enumerate(sets)]  # fmt: skip
    boxes, scores, class_ids = fuse(sets, weights=weights, confidence=confidence, iou_threshold=0.45)
    theirs = weighted_boxes_fusion(
        [one / 200 for one, _, _ in sets],
        [one for _, one, _ in sets],
        [one for _, _, one in sets],
        weights=weights,
        iou_thr=0.45,
        conf_type=conf_type,
    )
    assert 60 < len(boxes) < 175
    np.testing.assert_allclose(np.sort(scores), np.sort(theirs[1]), rtol=1e-5)  # the package sums in float32
    order, their_order = np.lexsort(boxes.T), np.lexsort(theirs[0].T)
    np.testing.assert_allclose(boxes[order], theirs[0][their_order] * 200, rtol=1e-5)  # as above
    np.testing.assert_array_equal(class_ids[order], theirs[2][their_order])


def test_a_fused_box_is_the_mean_by_score_and_loses_where_a_set_saw_nothing() -> None:
    a = (f32([[0, 0, 10, 10], [50, 50, 60, 60]]), f32([0.75, 0.5]), np.array([0, 0]))
    b = (f32([[2, 0, 10, 10]]), f32([0.25]), np.array([0]))
    boxes, scores, _ = fuse([a, b])
    assert boxes.tolist() == [[0.5, 0, 10, 10], [50, 50, 60, 60]]
    assert scores.tolist() == [0.5, 0.25]


def test_more_members_than_sets_do_not_raise_the_score() -> None:
    one = (f32([[0, 0, 10, 10]] * 3), f32([0.75, 0.5, 0.25]), np.zeros(3, int))
    assert fuse([one])[1].tolist() == [0.5]


def test_the_best_member_may_give_the_score() -> None:
    one = (f32([[0, 0, 10, 10]] * 3), f32([0.75, 0.5, 0.25]), np.zeros(3, int))
    assert fuse([one], confidence="max")[1].tolist() == [0.75]


def test_the_average_moves_with_its_members() -> None:
    # The third box overlaps the first by 1 / 3, and the mean of the first two (2.5 to 12.5) by 6 / 14 = 0.43.
    boxes = f32([[0, 0, 10, 10], [5, 0, 15, 10], [6.5, 0, 16.5, 10]])
    one = (boxes, f32([0.5, 0.5, 0.25]), np.zeros(3, int))
    assert len(fuse([one], iou_threshold=0.33)[0]) == 1
    assert len(fuse([(boxes[[0, 2]], f32([0.5, 0.25]), np.zeros(2, int))], iou_threshold=0.33)[0]) == 2


def test_classes_are_not_mixed() -> None:
    boxes, _, class_ids = fuse([(f32([[0, 0, 10, 10]] * 2), f32([0.5, 0.75]), np.array([4, 9]))])
    assert len(boxes) == 2
    assert class_ids.tolist() == [9, 4]


def test_sets_without_boxes_give_no_boxes() -> None:
    nothing = (np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, int))
    boxes, scores, class_ids = fuse([nothing, nothing])
    assert boxes.shape == (0, 4)
    assert len(scores) == len(class_ids) == 0


@pytest.mark.parametrize(("count", "weights"), [(0, None), (2, [1.0])])
def test_as_many_weights_as_sets_are_demanded(count: int, weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match="weights must be as many as sets of boxes, at least one"):
        weighted_box_fusion([f32([[0, 0, 1, 1]])] * count, [f32([1])] * count, [np.zeros(1, int)] * count,
                            iou_threshold=0.5, weights=weights)  # fmt: skip
