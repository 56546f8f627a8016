"""The loss of an anchor grid: which anchor holds which object, and how far its prediction is from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from export.training.losses.box_iou import box_overlap
from export.training.losses.focal import binary_focal_each
from export.training.losses.specs import Grid

_BOX_AND_OBJECTNESS = 5
_LOG_SIDE_LIMIT = 8.0  # e^8 anchors: the exponential of a wild early prediction must stay finite.


@dataclass(frozen=True, eq=False)
class GridTargets:
    """The objects of a batch.

    Attributes:
        rows: ``(M,)`` int64, which row of the batch.
        boxes: ``(M, 4)`` float32 xyxy, row pixels.
        class_ids: ``(M,)`` int64.
    """

    rows: Tensor
    boxes: Tensor
    class_ids: Tensor


@dataclass(frozen=True, eq=False)
class Match:
    """Anchors of one scale that hold an object, one entry an anchor.

    Attributes:
        places: row, anchor, y, x, each ``(P,)`` int64.
        of: ``(P,)`` int64, index of the object.
    """

    places: tuple[Tensor, Tensor, Tensor, Tensor]
    of: Tensor


def grid_loss(
    maps: Sequence[Tensor], targets: GridTargets, spec: Grid, *, strides: Sequence[int], anchors: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The parts ``box``, ``objectness``, ``class`` and their weighted sum ``loss``, as YOLOv3 splits them.

    An object belongs to the cell of its centre, there to every anchor of a shape near its own (no side more than
    ``max_ratio`` times the other's) and in any case to the one of all scales whose shape overlaps it most. Two objects
    that claim one anchor: the smaller keeps it. Objectness is learnt by all anchors but those that hold no object and
    predict a box that overlaps one by more than ``ignore_iou`` (arXiv:1804.02767, section 2.1).

    Args:
        maps: one ``(N, A * (5 + C), h, w)`` a scale, as ``GridDetectorNet`` answers.
        targets: the objects.
        spec: weights and thresholds.
        strides: row pixels a cell, one a scale.
        anchors: ``(A, 2)`` width, height in row pixels, one tensor a scale.
    """
    shapes = targets.boxes[:, 2:] - targets.boxes[:, :2]  # (M, 2)
    best = _best_anchor(shapes, anchors)
    box, objectness, classes, held = maps[0].new_zeros(()), maps[0].new_zeros(()), maps[0].new_zeros(()), 0
    first = 0
    for raw, stride, sizes in zip(maps, strides, anchors, strict=True):
        grid = raw.float().view(len(raw), len(sizes), -1, *raw.shape[2:]).movedim(2, -1)  # (N, A, h, w, 5 + C)
        match = _match(targets, shapes, best - first, sizes, grid.shape[2:4], stride, spec.max_ratio)
        first += len(sizes)
        boxes = predicted_boxes(grid, sizes, stride)
        truth = torch.zeros_like(grid[..., 4])
        counted = _counts(boxes, targets, ignore_iou=spec.ignore_iou)
        if len(match.of):
            found = grid[match.places]  # (P, 5 + C)
            overlap = box_overlap(boxes[match.places], targets.boxes[match.of], kind=spec.box)
            box = box + (1 - overlap).sum()
            wanted = F.one_hot(targets.class_ids[match.of], grid.shape[-1] - _BOX_AND_OBJECTNESS).to(grid.dtype)
            classes = (
                classes
                + F.binary_cross_entropy_with_logits(found[:, _BOX_AND_OBJECTNESS:], wanted, reduction="none")
                .sum(-1)
                .sum()
            )
            truth[match.places] = 1
            counted[match.places] = True
            held += len(match.of)
        objectness = objectness + binary_focal_each(grid[..., 4], truth, gamma=spec.focal_gamma)[counted].sum()
    each = max(held, 1)
    parts = {"box": box / each, "objectness": objectness / each, "class": classes / each}
    weights = {"box": spec.box_weight, "objectness": spec.objectness_weight, "class": spec.class_weight}
    return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}


def predicted_boxes(grid: Tensor, sizes: Tensor, stride: int) -> Tensor:
    """Corners ``(N, A, h, w, 4)`` in row pixels that ``yolo_grid`` decodes from ``(N, A, h, w, 5 + C)``."""
    y = torch.arange(grid.shape[2], device=grid.device, dtype=grid.dtype)[:, None]
    x = torch.arange(grid.shape[3], device=grid.device, dtype=grid.dtype)
    cx = (grid[..., 0].sigmoid() + x) * stride
    cy = (grid[..., 1].sigmoid() + y) * stride
    halves = grid[..., 2:4].clamp(max=_LOG_SIDE_LIMIT).exp() * sizes[:, None, None, :] / 2  # (N, A, h, w, 2)
    centers = torch.stack((cx, cy), dim=-1)
    return torch.cat((centers - halves, centers + halves), dim=-1)


def _best_anchor(shapes: Tensor, anchors: Sequence[Tensor]) -> Tensor:
    """Index ``(M,)`` over all scales of the anchor that overlaps each shape most, both at one place."""
    every = torch.cat(tuple(anchors))  # (K, 2)
    shared = torch.minimum(shapes[:, None], every[None]).prod(-1)  # (M, K)
    union = shapes.prod(-1)[:, None] + every.prod(-1)[None] - shared
    return (shared / union).argmax(dim=1)


def _match(
    targets: GridTargets,
    shapes: Tensor,
    best: Tensor,
    sizes: Tensor,
    grid_hw: Sequence[int],
    stride: int,
    max_ratio: float,
) -> Match:
    """Anchors of one scale and their objects; ``best`` is counted from this scale's first anchor."""
    ratio = shapes[:, None] / sizes[None]  # (M, A, 2)
    near = torch.maximum(ratio, 1 / ratio).amax(-1) <= max_ratio
    near |= best[:, None] == torch.arange(len(sizes), device=sizes.device)
    # Larger objects first: of several that claim one anchor the last, the smallest, stays.
    order = shapes.prod(-1).argsort(descending=True, stable=True)
    of, anchor = near[order].nonzero(as_tuple=True)
    of = order[of]
    cell = ((targets.boxes[of, :2] + targets.boxes[of, 2:]) / (2 * stride)).long()
    x, y = cell[:, 0].clamp(0, grid_hw[1] - 1), cell[:, 1].clamp(0, grid_hw[0] - 1)
    place = ((targets.rows[of] * len(sizes) + anchor) * grid_hw[0] + y) * grid_hw[1] + x
    last = {key: i for i, key in enumerate(place.tolist())}
    kept = torch.tensor(sorted(last.values()), dtype=torch.int64, device=of.device)
    return Match((targets.rows[of][kept], anchor[kept], y[kept], x[kept]), of[kept])


@torch.no_grad()
def _counts(boxes: Tensor, targets: GridTargets, *, ignore_iou: float) -> Tensor:
    """Anchors ``(N, A, h, w)`` bool whose predicted box overlaps no object by more than ``ignore_iou``."""
    counted = torch.ones(boxes.shape[:-1], dtype=torch.bool, device=boxes.device)
    for row in range(len(boxes)):
        objects = targets.boxes[targets.rows == row]
        if not len(objects):
            continue
        mine = boxes[row].reshape(-1, 1, 4)  # (A * h * w, 1, 4)
        sides = torch.minimum(mine[..., 2:], objects[:, 2:]) - torch.maximum(mine[..., :2], objects[:, :2])
        inter = sides.clamp(min=0).prod(-1)  # (A * h * w, M)
        areas = (mine[..., 2:] - mine[..., :2]).prod(-1) + (objects[:, 2:] - objects[:, :2]).prod(-1)
        overlap = (inter / (areas - inter)).amax(dim=1)
        counted[row] = (overlap <= ignore_iou).reshape(boxes.shape[1:-1])
    return counted
