"""Overlap and suppression of boxes that turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import area
from pipelines.nms import Indices, best_first, settle
from pipelines.types import AnyArray, FloatArray

_NOTHING = 1e-12  # of the unit square; sums of 36 terms in float64 leave about 1e-15 of boxes that lie apart.
_BLOCK = 64
_PAIRS = 4096  # at once: 7 MB of corners.
_ROUNDING = 1e-5  # corners are float32, 24 bits: their areas are off by less.


def rotated_iou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Intersection over union of boxes that turn, pair by pair.

    Each ``a`` is moved into the coordinates in which its ``b`` is the unit square, and pressed into that square along
    x, then along y: each edge becomes up to three, what lies outside folds onto the square's border where it has no
    area, and the shoelace formula gives what is inside. Nothing is sorted or told apart, so touching and equal boxes
    are no special case.

    Args:
        a: ``(P, 4, 2)`` corners x, y in order around a rectangle or parallelogram, either way around.
        b: ``(P, 4, 2)`` likewise.

    Returns:
        ``(P,)`` float64; 0 where one of the two has no area.
    """
    first, second = a.astype(np.float64), b.astype(np.float64)
    u, v = second[:, 1] - second[:, 0], second[:, 3] - second[:, 0]  # (P, 2) edges from the first corner
    area_a, area_b, turn = _areas(first), _areas(second), _cross(u, v)
    flat = (area_a <= 0) | (area_b <= 0)
    offsets = first - second[:, :1]  # (P, 4, 2)
    whole = np.where(flat, 1.0, turn)[:, None]
    points = np.stack((_cross(offsets, v[:, None]) / whole, _cross(u[:, None], offsets) / whole), axis=-1)
    points = _press(_press(points, 0), 1)
    part = np.abs(_cross(points, np.roll(points, -1, axis=1)).sum(axis=1)) / 2
    inside = np.where(part < _NOTHING, 0.0, part) * area_b
    union = np.where(flat, 1.0, area_a + area_b - inside)
    return np.where(flat, 0.0, inside / union)


def rotated_nms(
    corners: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    *,
    iou_threshold: float,
    class_agnostic: bool,
    candidates: int,
) -> Indices:
    """Suppress each box whose :func:`rotated_iou` with a better kept one of its class is **above** ``iou_threshold``.

    Args:
        corners: ``(N, 4, 2)`` float32 x, y.
        scores: ``(N,)`` float32, no NaN.
        class_ids: ``(N,)`` int64.
        iou_threshold: 0 to 1.
        class_agnostic: let classes suppress each other.
        candidates: how many of the best boxes, over all classes, enter.

    Returns:
        Kept indices, best first, ties by lower index.
    """
    order = best_first(scores, candidates)
    corners, class_ids = corners[order], class_ids[order]
    bounds = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    areas = _areas(corners.astype(np.float64))

    def struck(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        # Nothing shares more than its bounds do, or than its own area: most pairs end here, at little cost.
        own, others = areas[rows][:, None], areas[columns][None, :]
        shared = np.minimum(_shared_bounds(bounds[rows][:, None], bounds[columns][None, :]), np.minimum(own, others))
        over = shared > iou_threshold * (own + others - shared) * (1 - _ROUNDING)
        over &= rows[:, None] < columns[None, :]
        if not class_agnostic:
            over &= class_ids[rows][:, None] == class_ids[columns][None, :]
        i, j = np.nonzero(over)
        for start in range(0, len(i), _PAIRS):
            part = slice(start, start + _PAIRS)
            overlaps = rotated_iou(corners[rows[i[part]]], corners[columns[j[part]]])
            over[i[part], j[part]] = overlaps > iou_threshold
        return over

    waiting, kept = np.arange(len(order)), [np.empty(0, np.intp)]
    while len(waiting):
        block, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
        winners = block[settle(struck(block, block))]
        kept.append(winners)
        waiting = waiting[~struck(winners, waiting).any(axis=0)]
    return order[np.concatenate(kept)]


def _areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(_cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]))


def _shared_bounds(a: FloatArray, b: FloatArray) -> NDArray[np.float64]:
    return area(np.concatenate((np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])), axis=-1))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _press(points: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Clamp outlines ``(P, n, 2)`` to 0..1 along an axis; ``(P, 3n, 2)``, with a corner wherever an edge bends."""
    steps = np.roll(points, -1, axis=1) - points  # (P, n, 2)
    start, length = points[..., axis], steps[..., axis]
    along = np.where(length == 0, 1.0, length)
    with np.errstate(over="ignore"):  # an edge that hardly moves bends at its end.
        bends = np.clip(np.stack((-start / along, (1 - start) / along), axis=-1), 0, 1)  # (P, n, 2) parts of an edge
    bends = np.where(length[..., None] == 0, 0.0, np.sort(bends, axis=-1))
    parts = np.concatenate((np.zeros_like(start)[..., None], bends), axis=-1)  # (P, n, 3)
    pressed = points[:, :, None] + steps[:, :, None] * parts[..., None]  # (P, n, 3, 2)
    pressed[..., axis] = np.clip(pressed[..., axis], 0, 1)
    return pressed.reshape(len(points), 3 * points.shape[1], 2)
