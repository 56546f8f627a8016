"""Whether a value that only one of two results has may be there or not within the tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import iou_matrix
from pipelines.manifest import ResultTolerance
from pipelines.mask_nms import mask_iou
from pipelines.rotated_nms import rotated_iou
from pipelines.types import AnyArray, Detections, FloatArray, pixel_windows


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Where a detection or label can appear or vanish: the thresholds that were in force; ``None`` where there is none.

    ``overlap`` is what ``iou_threshold`` was compared with: every box of ``(N, 4)`` with every box of ``(M, 4)``; boxes
    that turn are compared by their own IoU, and with ``by_mask`` objects by that of their masks. ``min_size_px`` is
    what a cascade compared a box's shorter side with.
    """

    score_threshold: float | None = None
    iou_threshold: float | None = None
    overlap: Callable[[AnyArray, AnyArray], NDArray[np.float64]] = iou_matrix
    by_mask: bool = False
    max_detections: int | None = None
    min_size_px: float | None = None


def is_last(score: float, other: Mapping[int, float], count: int, tolerance: ResultTolerance, cuts: Cuts) -> bool:
    """Whether a class may be missing among ``other``: at the threshold, or tied for the last of ``count`` places."""
    if cuts.score_threshold is not None and abs(score - cuts.score_threshold) <= tolerance.score:
        return True
    return len(other) >= count and score - min(other.values()) <= tolerance.score


def is_near_tie(side: Detections, other: Detections, index: int, tolerance: ResultTolerance, cuts: Cuts) -> bool:
    """Whether a detection that only one side has may be there or not within the tolerance."""
    score = float(side.scores[index])
    if cuts.min_size_px is not None and _is_as_small(side.boxes[index], cuts.min_size_px, tolerance):
        return True
    if cuts.score_threshold is not None and abs(score - cuts.score_threshold) <= tolerance.score:
        return True
    if cuts.max_detections is not None and len(other) >= cuts.max_detections:
        return abs(score - float(other.scores.min())) <= tolerance.score
    if cuts.iou_threshold is None:
        return False
    margin = 1 - (tolerance.mask_iou if cuts.by_mask else tolerance.box_iou)
    for rivals in (side, other):
        if len(rivals):
            overlap = _overlaps(side, index, rivals, cuts)
            if (np.abs(overlap - cuts.iou_threshold) <= margin).any():
                return True
    return False


def _is_as_small(box: FloatArray, min_size_px: float, tolerance: ResultTolerance) -> bool:
    """Whether the box's shorter side may be at either side of the limit while its IoU stays within the tolerance."""
    shorter = float((box[2:] - box[:2]).min())
    return abs(shorter - min_size_px) <= (1 - tolerance.box_iou) * max(shorter, min_size_px)


def _overlaps(side: Detections, index: int, rivals: Detections, cuts: Cuts) -> NDArray[np.float64]:
    """What the suppression compared of one detection with each rival: ``(N,)``; turned boxes by themselves."""
    if cuts.by_mask and side.masks is not None and rivals.masks is not None:
        window = pixel_windows(side.boxes[[index]])[0].tolist()
        windows = pixel_windows(rivals.boxes).tolist()
        return np.array(
            [mask_iou(side.masks[index], window, *rival) for rival in zip(rivals.masks, windows, strict=True)]
        )
    if side.angles is None or side.polygons is None or rivals.polygons is None:
        return cuts.overlap(side.boxes[index : index + 1], rivals.boxes)[0]
    corners = np.stack(rivals.polygons)
    return rotated_iou(np.broadcast_to(side.polygons[index], corners.shape), corners)
