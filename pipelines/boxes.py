"""Box maths: conversion between formats, area, IoU, clipping."""

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


def area(boxes: AnyArray) -> NDArray[np.float64]:
    """Areas ``(...)`` float64 of ``(..., 4)`` corners; 0 for a box without width or height, or turned inside out."""
    boxes = boxes.astype(np.float64)
    return _extent(boxes[..., :2], boxes[..., 2:])


def _extent(top_left: NDArray[np.float64], bottom_right: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(bottom_right - top_left, 0)
    return sides[..., 0] * sides[..., 1]


def iou(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Intersection over union of corners ``(..., 4)`` with corners ``(..., 4)``, broadcast against each other.

    Computed in float64, where differences of float32 corners are exact. A box without area has IoU 0 with every box,
    itself included.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    inter = _extent(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    union = area(a) + area(b) - inter
    # Where the union is 0 so is the intersection: any divisor but 0 gives IoU 0.
    return inter / np.maximum(union, np.finfo(np.float64).tiny)


def iou_matrix(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """The :func:`iou` of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``: ``(N, M)`` float64."""
    return iou(a[:, None, :], b[None, :, :])


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
