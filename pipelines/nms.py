"""Greedy non-maximum suppression, over all boxes or class by class."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import iou, may_overlap
from pipelines.types import AnyArray, FloatArray

Indices: TypeAlias = NDArray[np.int64]
Overlap: TypeAlias = Callable[[AnyArray, AnyArray], NDArray[np.float64]]
"""Of corners ``(N, 4)`` with corners ``(N, 4)``, pair by pair: ``(N,)``, 0 or less where they share no area."""

_BLOCK = 128
_STRIP = 2048  # boxes compared with a block at once: tables of 256 KiB stay in the cache.
_PAIRS = 131_072  # so many pairs of one class are listed at once; more go block by block, which skips struck boxes.


def best_first(scores: AnyArray, limit: int | None = None) -> Indices:
    """Indices of the ``limit`` best of ``(N,)`` scores (all without a limit), best first, ties by lower index."""
    if limit is None or limit >= len(scores):
        return np.argsort(-scores, kind="stable")
    # The limit-th best score finds the few to sort in linear time; ties with it come along and lose by their index.
    least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    among = np.flatnonzero(scores >= least)
    return among[np.argsort(-scores[among], kind="stable")[:limit]]


def nms(boxes: FloatArray, scores: FloatArray, *, iou_threshold: float) -> Indices:
    """Suppress each box whose IoU with a better kept box is **above** ``iou_threshold``.

    Of equal scores the lower index is the better. A box without area overlaps nothing, so it stays.

    Args:
        boxes: ``(N, 4)`` float32 xyxy.
        scores: ``(N,)`` float32, no NaN.
        iou_threshold: 0 to 1.

    Returns:
        Kept indices, best first.
    """
    order = best_first(scores)
    return order[greedy(boxes[order], None, iou, iou_threshold)]


def batched_nms(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    *,
    iou_threshold: float,
    class_agnostic: bool,
    candidates: int,
) -> Indices:
    """Run :func:`nms` class by class (or over all, where ``class_agnostic``) on the ``candidates`` best boxes.

    Classes are told apart by comparing ids, not by shifting the boxes of each class: no precision is lost with many
    classes or large images.

    Args:
        boxes: ``(N, 4)`` float32 xyxy.
        scores: ``(N,)`` float32, no NaN.
        class_ids: ``(N,)`` int64.
        iou_threshold: 0 to 1.
        class_agnostic: let classes suppress each other.
        candidates: how many of the best boxes, over all classes, enter.

    Returns:
        Kept indices, best first, ties by lower index.
    """
    order = best_first(scores, candidates)
    return order[greedy(boxes[order], None if class_agnostic else class_ids[order], iou, iou_threshold)]


def greedy(
    boxes: FloatArray, class_ids: NDArray[np.int64] | None, overlap: Overlap, threshold: float
) -> NDArray[np.intp]:
    """Positions kept of boxes that come best first: none overlaps a better kept one by more than ``threshold``.

    ``threshold`` is 0 or more. With ``class_ids`` only boxes of one class suppress each other; with few boxes a class,
    all pairs within each class are compared at once. Else a block of the best is settled among itself, then its winners
    strike out everything after it at once. Each pair is looked at no more than once, and struck boxes are never looked
    at again.
    """
    if class_ids is not None:
        by_class = np.argsort(class_ids, kind="stable")
        grouped = class_ids[by_class]
        ends = np.searchsorted(grouped, grouped, side="right")
        if np.sum(ends - np.arange(1, len(ends) + 1)) <= _PAIRS:
            return np.sort(by_class[_greedy_in_groups(boxes[by_class], ends, overlap, threshold)])

    def struck(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        over = may_overlap(boxes[rows], boxes[columns])  # most pairs end here, after four comparisons.
        if class_ids is not None:
            over &= class_ids[rows][:, None] == class_ids[columns][None, :]
        i, j = np.nonzero(over)
        over[i, j] = overlap(boxes[rows[i]], boxes[columns[j]]) > threshold
        return over

    waiting = np.arange(len(boxes))
    kept = []
    while len(waiting):
        block, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
        winners = block[settle(struck(block, block))]
        kept.append(winners)
        strips = [waiting[i : i + _STRIP] for i in range(0, len(waiting), _STRIP)]
        survivors = [strip[~struck(winners, strip).any(axis=0)] for strip in strips]
        waiting = np.concatenate(survivors) if survivors else waiting
    return np.concatenate(kept) if kept else waiting


def _greedy_in_groups(boxes: FloatArray, ends: Indices, overlap: Overlap, threshold: float) -> NDArray[np.bool_]:
    """Mask of the kept of ``(N, 4)`` boxes that come group by group, best first; ``ends``: where each one's group ends.

    All pairs within a group are compared at once.
    """
    places = np.arange(len(boxes))
    rivals = ends - places - 1
    first = np.repeat(places, rivals)
    second = np.arange(len(first)) - np.repeat(np.cumsum(rivals) - rivals - places - 1, rivals)
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    near = np.flatnonzero((left[first] < right[second]) & (left[second] < right[first]))
    first, second = first[near], second[near]
    near = np.flatnonzero((top[first] < bottom[second]) & (top[second] < bottom[first]))
    first, second = first[near], second[near]
    strikes = np.flatnonzero(overlap(boxes[first], boxes[second]) > threshold)
    first, second = first[strikes], second[strikes]
    kept = np.ones(len(boxes), dtype=bool)
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    for start, end in pairwise((*starts.tolist(), len(first))):
        if kept[first[start]]:
            kept[second[start:end]] = False
    return kept


def settle(overlaps: NDArray[np.bool_]) -> NDArray[Any]:
    """Mask of the kept of ``N`` boxes, best first, from their ``(N, N)`` table of overlaps."""
    later = np.triu(overlaps, k=1)
    kept = np.ones(len(overlaps), dtype=bool)
    for i in np.flatnonzero(later.any(axis=1)):  # the others strike nothing out.
        if kept[i]:
            kept &= ~later[i]
    return kept
