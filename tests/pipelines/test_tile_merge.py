"""Merging the results of tiles, against naive loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.errors import InvalidRequestError
from pipelines.specs import DiouNms, MaskNms, SoftGaussianNms, SoftLinearNms
from pipelines.tile_merge import blend, fuse_detections, hann, ios, join, shift, suppress_detections, vote
from pipelines.tile_options import TileOptions
from pipelines.tiles import plan
from pipelines.types import Detections, identical, pixel_windows
from tests import reference
from tests.builders import f32, nms

TWO = TileOptions(size=32, overlap=0.5)


def detections(rows: list[tuple[float, ...]], **over) -> Detections:
    """Of rows of left, top, right, bottom, score, class id."""
    table = np.reshape(f32(rows), (-1, 6))
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), **over)


@st.composite
def tile_sets(draw: st.DrawFn) -> list[Detections]:
    def rows() -> list[tuple[float, ...]]:
        corner, side = st.integers(0, 20), st.integers(1, 12)
        boxes = draw(st.lists(st.tuples(corner, corner, side, side, st.integers(1, 8), st.integers(0, 1)), max_size=6))
        return [(x, y, x + w, y + h, score / 8, label) for x, y, w, h, score, label in boxes]

    return [detections(rows()) for _ in range(draw(st.integers(1, 3)))]


def overlap_ios(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, float(width)) * max(0.0, float(height)) / float(smaller)


@pytest.mark.parametrize("by_smaller", [False, True], ids=["iou", "ios"])
@given(found=tile_sets())
def test_suppression_across_tiles_equals_the_naive_loop(found: list[Detections], by_smaller: bool):
    boxes = [
        (box, score, label)
        for one in found
        for box, score, label in zip(one.boxes, one.scores, one.class_ids, strict=True)
    ]
    kept: list = []
    for box, score, label in sorted(boxes, key=lambda each: -each[1]):
        measure = overlap_ios if by_smaller else reference.iou
        if not any(label == other and measure(box, best) > 0.3 for best, _, other in kept):
            kept.append((box, score, label))
    merged = suppress_detections(found, nms(iou_threshold=0.9), by_smaller=by_smaller, threshold=0.3)
    np.testing.assert_array_equal(merged.boxes, np.reshape([box for box, _, _ in kept], (-1, 4)))
    np.testing.assert_array_equal(merged.class_ids, [label for _, _, label in kept])


@pytest.mark.parametrize(
    ("kind", "classes_left"),
    [(nms(iou_threshold=0.2), 2), (nms(iou_threshold=0.2, class_agnostic=True), 1)],
    ids=["per class", "agnostic"],
)
@pytest.mark.parametrize("by_smaller", [False, True])
def test_classes_suppress_each_other_where_the_heads_own_suppression_lets_them(kind, classes_left, by_smaller):
    found = [detections([(0, 0, 10, 10, 0.9, 0)]), detections([(0, 0, 10, 9, 0.8, 1)])]
    assert len(suppress_detections(found, kind, by_smaller=by_smaller, threshold=None)) == classes_left


def test_a_part_that_a_tiles_edge_cut_is_found_by_the_smaller_box_and_not_by_iou():
    whole, part = detections([(0, 0, 100, 100, 0.9, 0)]), detections([(60, 0, 100, 100, 0.8, 0)])
    head = nms(iou_threshold=0.5)
    assert len(suppress_detections([whole, part], head, by_smaller=False, threshold=None)) == 2
    assert len(suppress_detections([whole, part], head, by_smaller=True, threshold=None)) == 1


def test_of_equal_scores_the_earlier_tile_wins():
    found = [detections([(0, 0, 10, 10, 0.5, 0)]), detections([(1, 0, 10, 10, 0.5, 0)])]
    merged = suppress_detections(found, nms(), by_smaller=False, threshold=None)
    np.testing.assert_array_equal(merged.boxes, f32([(0, 0, 10, 10)]))


@pytest.mark.parametrize(
    "kind",
    [
        SoftLinearNms(kind="soft_linear", iou_threshold=0.3, class_agnostic=False, candidates=9),
        SoftGaussianNms(kind="soft_gaussian", sigma=0.5, class_agnostic=False, candidates=9),
    ],
    ids=lambda kind: kind.kind,
)
def test_soft_suppression_lowers_no_score_a_second_time(kind):
    found = [detections([(0, 0, 10, 10, 0.9, 0), (0, 5, 10, 15, 0.4, 0)]), detections([(0, 1, 10, 10, 0.8, 0)])]
    merged = suppress_detections(found, kind, by_smaller=False, threshold=0.5)
    np.testing.assert_array_equal(merged.scores, f32([0.9, 0.4]))


def test_distance_suppression_keeps_boxes_whose_centres_lie_apart():
    found = [detections([(0, 0, 10, 10, 0.9, 0)]), detections([(4, 0, 14, 10, 0.8, 0)])]  # IoU 0.43, DIoU 0.37
    diou = DiouNms(kind="diou", iou_threshold=0.4, class_agnostic=False, candidates=9)
    assert len(suppress_detections(found, diou, by_smaller=False, threshold=None)) == 2
    assert len(suppress_detections(found, nms(iou_threshold=0.4), by_smaller=False, threshold=None)) == 1


def test_mask_suppression_compares_pixels_not_boxes():
    upper, lower = np.tri(10, dtype=bool), ~np.tri(10, dtype=bool)
    first = detections([(0, 0, 10, 10, 0.9, 0)], masks=(upper,))
    same = detections([(0, 0, 10, 10, 0.8, 0)], masks=(upper.copy(),))
    other = detections([(0, 0, 10, 10, 0.7, 0)], masks=(lower,))
    head = MaskNms(kind="mask", iou_threshold=0.5, class_agnostic=False, candidates=9)
    merged = suppress_detections([first, same, other], head, by_smaller=False, threshold=None)
    np.testing.assert_array_equal(merged.scores, f32([0.9, 0.7]))
    np.testing.assert_array_equal(merged.masks[1], lower)


def turned(score: float, points) -> Detections:
    corners = f32(points)
    bounds = (*corners.min(0).tolist(), *corners.max(0).tolist())
    return detections([(*bounds, score, 0)], polygons=(corners,), angles=f32([0.5]))


def test_turned_boxes_are_compared_as_they_lie_and_not_by_the_smaller_one():
    rising, falling = [(0, 8), (8, 0), (10, 2), (2, 10)], [(2, 0), (10, 8), (8, 10), (0, 2)]
    found = [turned(0.9, rising), turned(0.8, falling)]  # the same bounds, crossing in the middle
    assert len(suppress_detections(found, nms(iou_threshold=0.5), by_smaller=False, threshold=None)) == 2
    with pytest.raises(InvalidRequestError, match="criterion ios does not apply to boxes that turn"):
        suppress_detections(found, nms(), by_smaller=True, threshold=None)


def test_fused_boxes_lie_between_their_members_and_keep_the_best_score():
    found = [detections([(0, 0, 10, 10, 0.75, 1)]), detections([(2, 0, 12, 10, 0.25, 1), (50, 50, 60, 60, 0.5, 0)])]
    merged = fuse_detections(found, labels=("cup", "cat"), threshold=0.5)
    np.testing.assert_allclose(merged.boxes, f32([(0.5, 0, 10.5, 10), (50, 50, 60, 60)]), rtol=1e-6)  # float32
    np.testing.assert_array_equal(merged.scores, f32([0.75, 0.5]))
    assert merged.labels == ("cat", "cup")


def test_an_object_without_score_has_no_say_in_a_fusion():
    merged = fuse_detections(
        [detections([(0, 0, 9, 9, 0, 0)]), detections([(0, 0, 10, 10, 0.5, 0)])], labels=(), threshold=None
    )
    np.testing.assert_array_equal(merged.boxes, f32([(0, 0, 10, 10)]))


@given(tile_sets())
def test_joined_sets_are_their_rows_one_after_the_other(found: list[Detections]):
    joined = join(found)
    for i, box in enumerate(box for one in found for box in one.boxes):
        np.testing.assert_array_equal(joined.boxes[i], box)


@given(
    hnp.arrays(np.float32, (3, 2), elements=st.floats(0, 30, width=32)),
    st.tuples(st.integers(0, 16_000), st.integers(0, 16_000)),
)
def test_a_mask_moves_with_its_object_however_its_box_is_rounded(ends, corner: tuple[int, int]):
    boxes = np.concatenate((np.minimum(ends, ends[::-1]), np.maximum(ends, ends[::-1])), axis=1)
    masks = tuple(np.ones((bottom - top, right - left), bool) for left, top, right, bottom in pixel_windows(boxes))
    found = Detections(boxes, f32([0.9, 0.8, 0.7]), np.zeros(3, np.int64), masks=masks)
    moved = shift(found, corner)
    before = pixel_windows(found.boxes) + np.tile(np.array(corner), 2)
    for mask, old, new in zip(moved.masks, before, pixel_windows(moved.boxes), strict=True):
        assert mask.all()
        assert np.all(new[:2] >= old[:2])
        assert np.all(new[2:] <= np.maximum(old[2:], new[:2]))


def test_a_tile_in_the_corner_moves_nothing():
    found = detections([(0, 0, 10, 10, 0.9, 0)])
    assert shift(found, (0, 0)) is found


def test_polygons_and_points_move_with_their_boxes():
    found = detections([(0, 0, 4, 4, 0.9, 0)], polygons=(f32([(0, 0), (4, 4)]),), keypoints=f32([[(1, 2, 0.5)]]))
    moved = shift(found, (100, 10))
    np.testing.assert_array_equal(moved.polygons[0], f32([(100, 10), (104, 14)]))
    np.testing.assert_array_equal(moved.keypoints, f32([[(101, 12, 0.5)]]))


# --- pixels ----------------------------------------------------------------------------------------------------------

image_sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(image_sizes, st.integers(0, 2**32 - 1))
def test_blending_equals_the_naive_weighted_mean(image_hw: tuple[int, int], seed: int):
    random, windows = np.random.default_rng(seed), plan(image_hw, TWO)
    planes = [random.integers(0, 256, (bottom - top, right - left), np.uint8) for left, top, right, bottom in windows]
    merged = blend(planes, windows, image_hw)
    for y, x in random.integers(0, image_hw, (20, 2)).tolist():
        weights, values = [], []
        for plane, (left, top, right, bottom) in zip(planes, windows, strict=True):
            if left <= x < right and top <= y < bottom:
                weights.append(hann(right - left)[x - left] * hann(bottom - top)[y - top])
                values.append(float(plane[y - top, x - left]))
        # half a level of rounding, and float32 sums of at most four products below 256
        assert abs(merged[y, x] - np.average(values, weights=weights)) <= 0.5 + 1e-4


@given(image_sizes, st.integers(0, 255))
def test_tiles_that_agree_are_blended_to_what_they_say(image_hw: tuple[int, int], level: int):
    windows = plan(image_hw, TWO)
    planes = [np.full((bottom - top, right - left), level, np.uint8) for left, top, right, bottom in windows]
    assert np.all(blend(planes, windows, image_hw) == level)


@given(image_sizes, st.integers(0, 2**32 - 1))
def test_votes_equal_the_naive_count(image_hw: tuple[int, int], seed: int):
    random, windows = np.random.default_rng(seed), plan(image_hw, TWO)
    maps = [random.integers(0, 4, (bottom - top, right - left), np.uint8) for left, top, right, bottom in windows]
    merged = vote(maps, windows, image_hw)
    for y, x in random.integers(0, image_hw, (20, 2)).tolist():
        votes = np.zeros(4)
        for class_map, (left, top, right, bottom) in zip(maps, windows, strict=True):
            if left <= x < right and top <= y < bottom:
                weight = hann(right - left)[x - left] * hann(bottom - top)[y - top]
                votes[class_map[y - top, x - left]] += weight
        # float32 sums: a vote within 1e-6 of the best may win as well
        assert votes[merged[y, x]] >= votes.max() * (1 - 1e-6)


def test_of_equal_votes_the_lower_class_wins():
    windows = plan((32, 48), TWO)
    assert windows == ((0, 0, 32, 32), (16, 0, 48, 32))
    halves = [np.full((32, 32), label, np.uint16) for label in (300, 7)]
    merged = vote(halves, windows, (32, 48))
    assert merged.dtype == np.uint16
    assert merged[0].tolist() == [300] * 24 + [7] * 24


def test_a_window_falls_to_both_edges_alike_and_is_nowhere_zero():
    window = hann(33)
    assert window.min() > 0
    assert window.argmax() == 16
    np.testing.assert_allclose(window, window[::-1], atol=1e-12)  # float64


def test_the_smaller_box_inside_another_is_covered_wholly():
    assert ios(f32([0, 0, 100, 100]), f32([60, 0, 100, 100])) == 1
    assert ios(f32([0, 0, 100, 100]), f32([60, 0, 60, 100])) == 0


def test_a_lone_set_stays_as_it_is():
    found = detections([(0, 0, 10, 10, 0.9, 0), (50, 0, 60, 10, 0.4, 0)])
    assert identical(suppress_detections([found], nms(), by_smaller=False, threshold=None), found)
