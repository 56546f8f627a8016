"""Overlap and suppression of objects by the pixels that they cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import area
from pipelines.nms import Indices, best_first
from pipelines.types import BoolArray, FloatArray, pixel_windows

Masks = Callable[[Indices], Sequence[BoolArray]]


def mask_areas(masks: Sequence[BoolArray]) -> NDArray[np.int64]:
    """Pixels of each of ``N`` masks: ``(N,)``."""
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)


def mask_iou(first: BoolArray, first_window: Sequence[int], second: BoolArray, second_window: Sequence[int]) -> float:
    """Intersection over union of two masks ``(h, w)``, each over its window; 0 where both are empty.

    Args:
        first: pixels inside ``first_window``.
        first_window: left, top, right, bottom in whole pixels of the image, the last two exclusive.
        second: pixels inside ``second_window``.
        second_window: likewise.
    """
    return _ratio(_shared(first, first_window, second, second_window), first, second)


def mask_nms(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    masks: Masks,
    *,
    iou_threshold: float,
    class_agnostic: bool,
    candidates: int,
) -> Indices:
    """Suppress each object whose :func:`mask_iou` with a better kept one of its class is **above** ``iou_threshold``.

    Masks are made for the candidates that enter and for no others. Those whose windows lie apart are never compared. An
    empty mask overlaps nothing, so its object stays.

    Args:
        boxes: ``(N, 4)`` float32 xyxy in the image in which the masks lie, clipped to it.
        scores: ``(N,)`` float32, no NaN.
        class_ids: ``(N,)`` int64.
        masks: gives the masks of the indices asked for, each over its box's :func:`pixel_windows`.
        iou_threshold: 0 to 1.
        class_agnostic: let classes suppress each other.
        candidates: how many of the best objects, over all classes, enter.

    Returns:
        Kept indices, best first, ties by lower index.
    """
    order = best_first(scores, candidates)
    found, windows = masks(order), pixel_windows(boxes[order])
    kept: list[int] = []
    for i, mask in enumerate(found):
        rivals = [j for j in kept if class_agnostic or class_ids[order[i]] == class_ids[order[j]]]
        shared = np.concatenate(
            (np.maximum(windows[i, :2], windows[rivals, :2]), np.minimum(windows[i, 2:], windows[rivals, 2:])), axis=1
        )
        near = np.flatnonzero(area(shared) > 0).tolist()
        overlaps = (mask_iou(mask, windows[i], found[rivals[j]], windows[rivals[j]]) for j in near)
        if not any(overlap > iou_threshold for overlap in overlaps):
            kept.append(i)
    return order[kept]


def _shared(first: BoolArray, a: Sequence[int], second: BoolArray, b: Sequence[int]) -> int:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[2], b[2]), min(a[3], b[3])
    if right <= left or bottom <= top:
        return 0
    in_first = first[top - a[1] : bottom - a[1], left - a[0] : right - a[0]]
    in_second = second[top - b[1] : bottom - b[1], left - b[0] : right - b[0]]
    return int(np.count_nonzero(in_first & in_second))


def _ratio(shared: int, first: BoolArray, second: BoolArray) -> float:
    union = int(np.count_nonzero(first)) + int(np.count_nonzero(second)) - shared
    return shared / union if union else 0.0
