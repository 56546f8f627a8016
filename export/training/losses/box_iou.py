"""Overlap of paired boxes as something to maximise: IoU, GIoU, DIoU, CIoU, with gradients."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

EPS = 1e-9  # square pixels: keeps quotients of boxes without area finite, far below any real area.


def box_overlap(a: Tensor, b: Tensor, *, kind: Literal["iou", "giou", "diou", "ciou"]) -> Tensor:
    """Overlap ``(N,)`` of each box of ``a`` with the box of ``b`` beside it, ``(N, 4)`` float32 xyxy.

    ``iou`` = I / U. ``giou`` = IoU - (hull - U) / hull (arXiv:1902.09630, algorithm 1). ``diou`` = IoU - d^2 / c^2, d
    the distance of the centres and c the diagonal of the hull (arXiv:1911.08287, equation 7). ``ciou`` = DIoU -
    alpha v (equations 8 to 11), where alpha is a constant to the gradient, as the paper has it.
    """
    inter = _extent(torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:]))
    union = _extent(a[:, :2], a[:, 2:]) + _extent(b[:, :2], b[:, 2:]) - inter
    iou = inter / (union + EPS)
    if kind == "iou":
        return iou
    hull_low, hull_high = torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])
    if kind == "giou":
        hull = _extent(hull_low, hull_high)
        return iou - (hull - union) / (hull + EPS)
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]).square().sum(-1) / 4
    diou = iou - apart / ((hull_high - hull_low).square().sum(-1) + EPS)
    if kind == "diou":
        return diou
    angle_a, angle_b = (torch.atan2(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) for box in (a, b))
    v = 4 / math.pi**2 * (angle_a - angle_b).square()
    alpha = (v / (1 - iou + v + EPS)).detach()
    return diou - alpha * v


def _extent(low: Tensor, high: Tensor) -> Tensor:
    sides = (high - low).clamp(min=0)
    return sides[:, 0] * sides[:, 1]
