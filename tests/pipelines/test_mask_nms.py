"""Suppression by masks, against whole-image masks, a naive loop and pycocotools."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from pipelines.mask_nms import mask_areas, mask_iou, mask_nms
from pipelines.nms import Indices, best_first
from pipelines.types import AnyArray, BoolArray, FloatArray, pixel_windows
from tests.builders import f32

IMAGE_HW = (40, 50)


def crowd(seed: int, count: int) -> tuple[FloatArray, AnyArray, AnyArray, tuple[BoolArray, ...]]:
    """Boxes, scores, classes and masks of objects that overlap; some masks are empty."""
    random = np.random.default_rng(seed)
    corners = random.uniform((0, 0), (30, 25), (count, 2))
    boxes = np.concatenate((corners, corners + random.uniform(2, 15, (count, 2))), axis=1).astype(np.float32)
    masks = tuple(
        random.random((bottom - top, right - left)) < density
        for density, (left, top, right, bottom) in zip(
            random.choice([0.0, 0.8, 1.0], count), pixel_windows(boxes).tolist(), strict=True
        )
    )
    scores = random.choice(np.linspace(0.1, 1, 6), count).astype(np.float32)
    return boxes, scores, random.integers(0, 2, count), masks


def laid(boxes: FloatArray, masks: Sequence[BoolArray]) -> BoolArray:
    """Masks over the whole image: ``(N, H, W)``."""
    whole = np.zeros((len(boxes), *IMAGE_HW), np.bool_)
    for i, (left, top, right, bottom) in enumerate(pixel_windows(boxes).tolist()):
        whole[i, top:bottom, left:right] = masks[i]
    return whole


def naive(whole: BoolArray, scores: AnyArray, class_ids: AnyArray, threshold: float, *, agnostic: bool) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        beaten = False
        for j in kept:
            union = np.sum(whole[i] | whole[j])
            if (agnostic or class_ids[i] == class_ids[j]) and union:
                beaten |= bool(np.sum(whole[i] & whole[j]) / union > threshold)
        if not beaten:
            kept.append(i)
    return kept


def suppress(boxes: FloatArray, scores: AnyArray, ids: AnyArray, masks: Sequence[BoolArray], **over: object) -> Indices:
    settings: dict[str, object] = {"iou_threshold": 0.4, "class_agnostic": False, "candidates": 100}
    return mask_nms(boxes, scores, ids, lambda at: [masks[i] for i in at], **(settings | over))  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(0, 1), st.booleans())
def test_it_keeps_what_a_naive_loop_over_whole_masks_keeps(
    seed: int, count: int, threshold: float, agnostic: bool
) -> None:
    boxes, scores, ids, masks = crowd(seed, count)
    kept = suppress(boxes, scores, ids, masks, iou_threshold=threshold, class_agnostic=agnostic)
    assert kept.tolist() == naive(laid(boxes, masks), scores, ids, threshold, agnostic=agnostic)


@given(st.integers(0, 2**32 - 1))
def test_overlaps_are_those_of_pycocotools(seed: int) -> None:
    boxes, _, _, masks = crowd(seed, 6)
    codes = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in laid(boxes, masks)]
    windows = pixel_windows(boxes)
    ours = [
        [mask_iou(a, v, b, w) for b, w in zip(masks, windows, strict=True)] for a, v in zip(masks, windows, strict=True)
    ]
    np.testing.assert_allclose(ours, coco.iou(codes, codes, [0] * 6), rtol=1e-12)  # one division of whole numbers each


def test_areas_count_pixels() -> None:
    assert mask_areas([np.eye(3, dtype=np.bool_), np.zeros((0, 4), np.bool_)]).tolist() == [3, 0]


def test_an_object_inside_the_box_of_another_stays_where_their_pixels_are_apart() -> None:
    frame = np.ones((10, 10), np.bool_)
    frame[2:8, 2:8] = False
    boxes = f32([[0, 0, 10, 10], [2, 2, 8, 8]])
    kept = suppress(
        boxes, f32([0.9, 0.8]), np.zeros(2, np.int64), [frame, np.ones((6, 6), np.bool_)], iou_threshold=0.0
    )
    assert kept.tolist() == [0, 1]


def test_only_the_best_candidates_enter_and_only_their_masks_are_made() -> None:
    boxes, scores, ids, masks = crowd(3, 9)
    asked: list[int] = []

    def make(indices: Indices) -> list[BoolArray]:
        asked.extend(indices.tolist())
        return [masks[i] for i in indices]

    mask_nms(boxes, scores, ids, make, iou_threshold=0.5, class_agnostic=False, candidates=4)
    assert asked == best_first(scores, 4).tolist()


@pytest.mark.parametrize("count", [0, 1])
def test_so_few_objects_all_stay(count: int) -> None:
    boxes, scores, ids, masks = crowd(1, count)
    assert suppress(boxes, scores, ids, masks).tolist() == list(range(count))
