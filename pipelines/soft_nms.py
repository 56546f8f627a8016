"""Soft non-maximum suppression: overlapping boxes lose score instead of vanishing (arXiv:1704.04503)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import iou
from pipelines.nms import Indices, best_first
from pipelines.types import FloatArray

Decay: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From IoUs ``(N,)`` with a better box to the factors ``(N,)``, 0 to 1, that scores are multiplied by; 1 for IoU 0."""


def linear_decay(iou_threshold: float) -> Decay:
    """``1 - IoU`` where the IoU is above the threshold, else 1 (section 3, the first of the two rescoring functions).

    The paper's text says "at or above", its authors' code and hard suppression "above"; so do we.
    """
    return lambda overlap: np.where(overlap > iou_threshold, 1 - overlap, 1.0)


def gaussian_decay(sigma: float) -> Decay:
    """``exp(-IoU² / sigma)`` for every box (section 3, the second rescoring function); ``sigma`` is above 0."""
    return lambda overlap: np.exp(-(overlap**2) / sigma)


def soft_nms(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    *,
    decay: Decay,
    score_threshold: float,
    class_agnostic: bool,
    candidates: int,
) -> tuple[Indices, FloatArray]:
    """Take the best box, let the rest decay by their overlap with it, and so on (arXiv:1704.04503, figure 2).

    Scores decay in float64 and are rounded to float32 once.

    Args:
        boxes: ``(N, 4)`` float32 xyxy.
        scores: ``(N,)`` float32, no NaN, 0 or more.
        class_ids: ``(N,)`` int64.
        decay: of one class's scores.
        score_threshold: boxes whose score falls below go.
        class_agnostic: let classes make each other decay.
        candidates: how many of the best boxes, over all classes, enter.

    Returns:
        Kept indices, best decayed score first, ties by lower index; and those scores.
    """
    entering = np.sort(best_first(scores, candidates))
    wide = scores[entering].astype(np.float64)
    groups = np.zeros(len(entering), np.int64) if class_agnostic else class_ids[entering]
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        wide[members] = _decayed(boxes[entering[members]], wide[members], decay, float(np.float32(score_threshold)))
    kept = np.flatnonzero(wide >= np.float32(score_threshold))
    final = wide[kept].astype(np.float32)
    order = best_first(final)
    return entering[kept[order]], final[order]


def _decayed(
    boxes: FloatArray, scores: NDArray[np.float64], decay: Decay, score_threshold: float
) -> NDArray[np.float64]:
    """Scores ``(N,)`` of boxes of one class after each has met all that were better when it was taken.

    Boxes that fell below the threshold have -1.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    waiting = np.where(scores >= score_threshold, scores, -1)  # -1: taken, or fallen
    final = np.full(len(boxes), -1.0)
    for _ in range(len(boxes)):
        best = int(waiting.argmax())  # the first of equals
        if waiting[best] < 0:
            break
        final[best], waiting[best] = waiting[best], -1
        x1, y1, x2, y2 = boxes[best]
        # Most boxes end here, after four comparisons: an IoU of 0 leaves their score as it is.
        near = np.flatnonzero((left < x2) & (x1 < right) & (top < y2) & (y1 < bottom) & (waiting >= 0))
        changed = waiting[near] * decay(iou(boxes[best], boxes[near]))
        waiting[near] = np.where(changed >= score_threshold, changed, -1)
    return final
