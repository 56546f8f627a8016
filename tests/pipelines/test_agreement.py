"""Comparing decoded results: what differs is named, what lies on a threshold is left out and counted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.agreement import compare_results
from pipelines.boxes import diou_matrix, iou_matrix
from pipelines.manifest import GoldenTolerance
from pipelines.near_ties import Cuts
from pipelines.types import Classification, Detections, Embedding, SegmentationMap

TOLERANCE = GoldenTolerance(
    pixel_levels=1,
    pixel_fraction=0.05,
    raw={},
    score=0.01,
    box_iou=0.95,
    point_px=1.0,
    mask_iou=0.98,
    cosine=0.999,
    reason="chosen for this test",
)
NO_CUTS = Cuts()


def detections(rows: list[tuple[float, ...]], **over: Any) -> Detections:
    """Build from rows of x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    fields = {"boxes": table[:, :4], "scores": table[:, 4], "class_ids": table[:, 5].astype(np.int64)}
    return Detections(**(fields | over))


ONE = (10, 10, 50, 60, 0.9, 0)
TWO = (100, 20, 160, 90, 0.7, 1)


def test_equal_detections_agree_in_any_order() -> None:
    agreement = compare_results(detections([ONE, TWO]), detections([TWO, ONE]), TOLERANCE, NO_CUTS)
    assert (agreement.compared, agreement.excluded, agreement.problem) == (2, 0, None)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        pytest.param([ONE], "is missing", id="one lost"),
        pytest.param([ONE, TWO, (300, 300, 340, 340, 0.6, 0)], "is new", id="one too many"),
        pytest.param([ONE, (*TWO[:5], 0)], "class 1", id="another class"),
        pytest.param([ONE, (*TWO[:4], 0.6, 1)], "score 0.6", id="another score"),
        pytest.param([ONE, (100, 20, 150, 90, 0.7, 1)], "is missing", id="another box"),
        pytest.param([], "is missing", id="nothing"),
    ],
)
def test_a_difference_of_detections_is_named(got: list[tuple[float, ...]], words: str) -> None:
    agreement = compare_results(detections([ONE, TWO]), detections(got), TOLERANCE, NO_CUTS)
    assert agreement.problem is not None
    assert words in agreement.problem


def test_no_detections_on_both_sides_compare_nothing() -> None:
    agreement = compare_results(detections([]), detections([]), TOLERANCE, NO_CUTS)
    assert (agreement.compared, agreement.problem) == (0, None)


def test_a_detection_at_the_score_threshold_may_vanish() -> None:
    edge = (*TWO[:4], 0.505, 1)
    cuts = Cuts(score_threshold=0.5)
    agreement = compare_results(detections([ONE, edge]), detections([ONE]), TOLERANCE, cuts)
    assert (agreement.compared, agreement.excluded, agreement.problem) == (1, 1, None)


def test_a_detection_at_the_iou_threshold_may_vanish() -> None:
    shifted = (10, 10, 50, 35, 0.8, 0)  # half of ONE: IoU 0.5
    expected = detections([ONE, shifted])
    near = compare_results(expected, detections([ONE]), TOLERANCE, Cuts(iou_threshold=0.52))
    far = compare_results(expected, detections([ONE]), TOLERANCE, Cuts(iou_threshold=0.7))
    assert (near.excluded, near.problem) == (1, None)
    assert far.problem is not None


def test_a_detection_at_the_distance_iou_threshold_may_vanish() -> None:
    moved = (30, 10, 70, 60, 0.8, 0)  # by 20 of 40: IoU 1 / 3, less 400 / 6100 for the centres is 0.27
    expected = detections([ONE, moved])
    for overlap, excluded in ((diou_matrix, 1), (iou_matrix, 0)):
        agreement = compare_results(expected, detections([ONE]), TOLERANCE, Cuts(iou_threshold=0.27, overlap=overlap))
        assert agreement.excluded == excluded


def test_a_full_answer_that_lost_a_clearly_better_detection_is_a_problem() -> None:
    cuts = Cuts(max_detections=1)
    assert compare_results(detections([ONE, TWO]), detections([ONE]), TOLERANCE, cuts).problem is not None
    tie = detections([ONE, (*TWO[:4], 0.895, 1)])
    assert compare_results(tie, detections([ONE]), TOLERANCE, cuts).problem is None


def test_a_moved_keypoint_is_named() -> None:
    points = np.zeros((1, 5, 3), np.float32)
    moved = points + np.float32([3, 0, 0])
    agreement = compare_results(
        detections([ONE], keypoints=points), detections([ONE], keypoints=moved), TOLERANCE, NO_CUTS
    )
    assert agreement.problem == "a keypoint is 3.00 px away from the reference"


def test_missing_keypoints_are_named() -> None:
    points = np.zeros((1, 5, 3), np.float32)
    agreement = compare_results(detections([ONE], keypoints=points), detections([ONE]), TOLERANCE, NO_CUTS)
    assert agreement.problem == "keypoints are on one side only"


def test_a_keypoint_with_another_score_is_named() -> None:
    points = np.zeros((1, 5, 3), np.float32)
    other = points + np.float32([0, 0, 0.5])
    agreement = compare_results(
        detections([ONE], keypoints=points), detections([ONE], keypoints=other), TOLERANCE, NO_CUTS
    )
    assert agreement.problem == "a keypoint's score differs by 0.50000"


def masked(box: tuple[float, ...], inside: int) -> Detections:
    """One detection whose mask holds the first ``inside`` columns of its box."""
    left, top, right, bottom = (int(value) for value in box[:4])
    bits = np.zeros((bottom - top, right - left), np.bool_)
    bits[:, :inside] = True
    return detections([box], masks=(bits,))


def test_masks_whose_boxes_differ_by_a_pixel_are_compared_where_they_lie() -> None:
    wider = (9, 10, 50, 60, 0.9, 0)
    agreement = compare_results(masked(ONE, 40), masked(wider, 41), TOLERANCE, NO_CUTS)
    assert agreement.problem == "a mask has IoU 0.9756 with the reference"  # 40 of 41 columns
    shifted = masked(wider, 41)
    assert shifted.masks is not None
    shifted.masks[0][:, 0] = False
    assert compare_results(masked(ONE, 40), shifted, TOLERANCE, NO_CUTS).problem is None


def test_a_mask_that_became_empty_is_named() -> None:
    agreement = compare_results(masked(ONE, 4), masked(ONE, 0), TOLERANCE, NO_CUTS)
    assert agreement.problem == "a mask has IoU 0.0000 with the reference"


def test_two_empty_masks_agree() -> None:
    assert compare_results(masked(ONE, 0), masked(ONE, 0), TOLERANCE, NO_CUTS).problem is None


def test_missing_masks_are_named() -> None:
    agreement = compare_results(masked(ONE, 4), detections([ONE]), TOLERANCE, NO_CUTS)
    assert agreement.problem == "masks are on one side only"


def turned(rows: list[tuple[float, ...]], angles: list[float]) -> Detections:
    """Boxes with angles, and corners as if they had not turned."""
    found = detections(rows)
    corners = tuple(found.boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])
    return replace(found, polygons=corners, angles=np.array(angles, np.float32))


def test_a_turned_box_is_named() -> None:
    # Half a diagonal of 64 px is 32 px: its end moves by 1.6 px.
    agreement = compare_results(turned([ONE], [0.1]), turned([ONE], [0.15]), TOLERANCE, NO_CUTS)
    assert agreement.problem == "an angle is 0.0500 rad away from the reference"


def test_a_full_turn_is_no_difference() -> None:
    agreement = compare_results(turned([ONE], [3.1415]), turned([ONE], [-3.1415]), TOLERANCE, NO_CUTS)
    assert agreement.problem is None


@pytest.mark.parametrize(("iou_threshold", "excluded"), [(1 / 3, 1), (0.5, 0)])
def test_turned_boxes_tie_by_their_own_overlap(iou_threshold: float, excluded: int) -> None:
    one = turned([(0, 0, 40, 40, 0.9, 0), (20, 0, 60, 40, 0.8, 0)], [0, 0])
    cuts = Cuts(iou_threshold=iou_threshold, overlap=lambda a, b: np.zeros((len(a), len(b))))
    assert compare_results(one, one[:1], TOLERANCE, cuts).excluded == excluded


@pytest.mark.parametrize(("iou_threshold", "excluded"), [(1 / 3, 1), (0.5, 0)])
def test_objects_suppressed_by_mask_tie_by_their_masks(iou_threshold: float, excluded: int) -> None:
    columns = np.arange(10)
    masks = tuple(np.tile((columns >= start) & (columns < start + 6), (10, 1)) for start in (0, 3))  # 3 of 9 shared
    both = detections([(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0)], masks=masks)
    cuts = Cuts(iou_threshold=iou_threshold, by_mask=True)
    assert compare_results(both, both[:1], TOLERANCE, cuts).excluded == excluded


def classes(ids: list[int], scores: list[float]) -> Classification:
    return Classification(np.array(ids, np.int64), np.array(scores, np.float32))


def test_classes_tied_for_the_last_place_may_change() -> None:
    agreement = compare_results(classes([3, 5], [0.6, 0.2]), classes([3, 8], [0.6, 0.199]), TOLERANCE, NO_CUTS)
    assert (agreement.compared, agreement.excluded, agreement.problem) == (1, 1, None)


@pytest.mark.parametrize(
    ("ids", "scores", "words"),
    [
        pytest.param([3, 5], [0.5, 0.2], "class 3 has score", id="another score"),
        pytest.param([4, 5], [0.6, 0.2], "class 3 (score 0.60000) is not among the best", id="another class"),
        pytest.param([3], [0.6], "1 classes", id="fewer classes"),
    ],
)
def test_a_difference_of_classes_is_named(ids: list[int], scores: list[float], words: str) -> None:
    agreement = compare_results(classes([3, 5], [0.6, 0.2]), classes(ids, scores), TOLERANCE, NO_CUTS)
    assert agreement.problem is not None
    assert words in agreement.problem


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        pytest.param(classes([3], [0.6]), classes([3, 5], [0.6, 0.501]), id="came"),
        pytest.param(classes([3, 5], [0.6, 0.501]), classes([3], [0.6]), id="went"),
        pytest.param(classes([3, 5], [0.6, 0.501]), classes([3, 8], [0.6, 0.502]), id="went and came"),
        pytest.param(classes([], []), classes([3], [0.501]), id="came to none"),
    ],
)
def test_a_label_at_the_threshold_may_come_or_go(expected: Classification, got: Classification) -> None:
    agreement = compare_results(expected, got, TOLERANCE, Cuts(score_threshold=0.5))
    assert (agreement.excluded, agreement.problem) == (1, None)


@pytest.mark.parametrize(
    ("ids", "scores", "words"),
    [
        pytest.param([3, 5, 8], [0.9, 0.7, 0.6], "class 8 (score 0.60000) is new", id="new"),
        pytest.param([3], [0.9], "class 5 (score 0.70000) is not among the best", id="lost"),
        pytest.param([3, 5], [0.9, 0.6], "class 5 has score 0.60000", id="another score"),
    ],
)
def test_a_label_far_from_the_threshold_may_not(ids: list[int], scores: list[float], words: str) -> None:
    expected = classes([3, 5], [0.9, 0.7])
    problem = compare_results(expected, classes(ids, scores), TOLERANCE, Cuts(score_threshold=0.5)).problem
    assert problem is not None
    assert words in problem


def mask(width: int, alpha: int | None = None) -> SegmentationMap:
    class_map = np.zeros((20, 100), np.uint8)
    class_map[:, :width] = 1
    return SegmentationMap(class_map, None if alpha is None else np.full((20, 100), alpha, np.uint8))


def test_masks_within_tolerance_agree_and_others_name_the_class() -> None:
    assert compare_results(mask(50), mask(50), TOLERANCE, NO_CUTS).problem is None
    problem = compare_results(mask(50), mask(60), TOLERANCE, NO_CUTS).problem
    assert problem is not None
    assert "mask of class 0" in problem


def test_another_alpha_is_named() -> None:
    problem = compare_results(mask(50, 200), mask(50, 190), TOLERANCE, NO_CUTS).problem
    assert problem == "alpha differs by 0.0392 on average"


def test_masks_of_other_sizes_are_named() -> None:
    other = SegmentationMap(np.zeros((5, 5), np.uint8))
    problem = compare_results(mask(50), other, TOLERANCE, NO_CUTS).problem
    assert problem == "mask is (5, 5), the reference (20, 100)"


def vector(*values: float) -> Embedding:
    return Embedding(np.array(values, np.float32))


@pytest.mark.parametrize(
    ("got", "words"),
    [
        pytest.param(vector(0, 1), "cosine", id="another direction"),
        pytest.param(vector(2, 0), "length", id="another length"),
        pytest.param(vector(1, 0, 0), "(3,)", id="another dimension"),
    ],
)
def test_a_difference_of_vectors_is_named(got: Embedding, words: str) -> None:
    problem = compare_results(vector(1, 0), got, TOLERANCE, NO_CUTS).problem
    assert problem is not None
    assert words in problem


def test_results_of_two_tasks_cannot_be_compared() -> None:
    with pytest.raises(TypeError, match="Embedding and Detections"):
        compare_results(vector(1, 0), detections([]), TOLERANCE, NO_CUTS)
