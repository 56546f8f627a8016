"""Box maths: conversion between formats, area, IoU and its relatives, clipping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, FloatArray


def cxcywh_to_xyxy(boxes_cxcywh: FloatArray) -> FloatArray:
    """Turn ``(N, 4)`` centre x, centre y, width, height into corners."""
    half = boxes_cxcywh[:, 2:] / 2
    return np.concatenate((boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half), axis=1)


def xyxy_to_cxcywh(boxes: FloatArray) -> FloatArray:
    """Turn ``(N, 4)`` corners into centre x, centre y, width, height."""
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def xywh_to_xyxy(boxes_xywh: FloatArray) -> FloatArray:
    """Turn ``(N, 4)`` left, top, width, height (COCO's) into corners."""
    return np.concatenate((boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]), axis=1)


def xyxy_to_xywh(boxes: FloatArray) -> FloatArray:
    """Turn ``(N, 4)`` corners into left, top, width, height (COCO's)."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def area(boxes: AnyArray) -> NDArray[np.float64]:
    """Areas ``(...)`` float64 of ``(..., 4)`` corners; 0 for a box without width or height, or turned inside out."""
    boxes = boxes.astype(np.float64)
    return _extent(boxes[..., :2], boxes[..., 2:])


def ioa(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Share of the area of ``a`` that ``b`` covers, corners ``(..., 4)`` broadcast as in :func:`iou`; not symmetric.

    A box ``a`` without area is covered by 0.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _ratio(_shared(a, b)[0], area(a))


def giou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Generalized IoU, -1 to 1, of corners ``(..., 4)`` broadcast as in :func:`iou` (arXiv:1902.09630, algorithm 1).

    IoU less the share of the smallest enclosing box that neither covers; a box that encloses no area takes nothing
    away. No epsilon.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    inter, union = _shared(a, b)
    hull = _extent(*_hull(a, b))
    return _ratio(inter, union) - _ratio(hull - union, hull)


def diou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Distance IoU, -1 to 1, of corners ``(..., 4)`` broadcast as in :func:`iou` (arXiv:1911.08287, equation 7).

    IoU less the squared distance of the centres over the squared diagonal of the smallest enclosing box; where that is
    a point nothing is taken away. No epsilon. A box turned inside out has no defined value.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    top_left, bottom_right = _hull(a, b)
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return _ratio(*_shared(a, b)) - _ratio((apart**2).sum(-1), ((bottom_right - top_left) ** 2).sum(-1))


def ciou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Complete IoU of corners ``(..., 4)`` broadcast as in :func:`iou` (arXiv:1911.08287, equations 8 to 11).

    Distance IoU less ``alpha * v``, where ``v`` compares the angles of the diagonals and ``alpha`` is
    ``v / (1 - IoU + v)``; boxes of one shape lose nothing. No epsilon. A box turned inside out has no defined value.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    # arctan2 of width and height is the arctan of their ratio, also for a box without height.
    angles = [np.arctan2(box[..., 2] - box[..., 0], box[..., 3] - box[..., 1]) for box in (a, b)]
    v = 4 / np.pi**2 * (angles[0] - angles[1]) ** 2
    return diou(a, b) - v * _ratio(v, 1 - iou(a, b) + v)


def _extent(top_left: NDArray[np.float64], bottom_right: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(bottom_right - top_left, 0)
    return sides[..., 0] * sides[..., 1]


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas of intersection and union."""
    inter = _extent(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    return inter, area(a) + area(b) - inter


def _hull(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Top left and bottom right of the smallest box around both."""
    return np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``, where a whole of 0 has only parts of 0: any divisor but 0 gives their ratio 0."""
    return part / np.maximum(whole, np.finfo(np.float64).tiny)


def iou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Intersection over union of corners ``(..., 4)`` with corners ``(..., 4)``, broadcast against each other.

    Computed in float64, where differences of float32 corners are exact. A box without area has IoU 0 with every box,
    itself included.
    """
    inter, union = _shared(a.astype(np.float64), b.astype(np.float64))
    return _ratio(inter, union)


def iou_matrix(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """The :func:`iou` of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``: ``(N, M)`` float64."""
    return iou(a[:, None, :], b[None, :, :])


def giou_matrix(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """The :func:`giou` of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``: ``(N, M)`` float64."""
    return giou(a[:, None, :], b[None, :, :])


def diou_matrix(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """The :func:`diou` of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``: ``(N, M)`` float64."""
    return diou(a[:, None, :], b[None, :, :])


def ciou_matrix(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """The :func:`ciou` of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``: ``(N, M)`` float64."""
    return ciou(a[:, None, :], b[None, :, :])


def may_overlap(a: AnyArray, b: AnyArray) -> NDArray[np.bool_]:
    """Whether every box of ``a`` ``(N, 4)`` shares area with every box of ``b`` ``(M, 4)``, without computing how much.

    ``(N, M)`` bool; false only where the IoU is 0. Comparisons alone, no arithmetic: a cheap first look.
    """
    a, b = np.ascontiguousarray(a.T)[:, :, None], np.ascontiguousarray(b.T)[:, None, :]
    across = (a[0] < b[2]) & (b[0] < a[2])  # (N, M)
    across &= a[1] < b[3]
    across &= b[1] < a[3]
    return across


def clip(boxes: FloatArray, hw: tuple[int, int]) -> FloatArray:
    """Move ``(N, 4)`` corners inside an image of ``hw``; boxes fully outside become empty."""
    height, width = hw
    return np.clip(boxes, np.float32(0), np.array((width, height, width, height), np.float32))
