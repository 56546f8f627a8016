"""Weighted box fusion: boxes of several models, tiles or views become one, where suppression would drop all but one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import iou
from pipelines.nms import best_first
from pipelines.types import FloatArray


def weighted_box_fusion(
    boxes: Sequence[FloatArray],
    scores: Sequence[FloatArray],
    class_ids: Sequence[NDArray[np.int64]],
    *,
    iou_threshold: float,
    weights: Sequence[float] | None = None,
    confidence: Literal["average", "max"] = "average",
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Fuse sets of detections of one image (arXiv:1910.13302, section 2).

    Boxes join, best first, the fused box of their class with which their IoU is largest and **above**
    ``iou_threshold``, or found a new one. A fused box is the mean of its members, weighted by their scores, and is
    computed anew with each member. With ``average`` its score is the members' mean times ``min(T, N) / N`` for ``T``
    members of ``N`` sets: what few sets saw is trusted less. With ``max`` it is the members' best.

    Computed in float64. A box without area overlaps nothing, so it stays alone.

    Args:
        boxes: ``N`` sets of ``(n, 4)`` float32 xyxy, all in the same pixels.
        scores: ``N`` sets of ``(n,)`` float32, no NaN, above 0.
        class_ids: ``N`` sets of ``(n,)`` int64.
        iou_threshold: 0 to 1.
        weights: trust in each set, above 0; equal without.
        confidence: the score of a fused box. Weights scale scores; their sum (``average``) or largest (``max``) is
            divided out.

    Returns:
        Boxes ``(M, 4)``, scores ``(M,)`` float32 and class ids ``(M,)``: best first, of equal scores the one that was
        founded by the better box.

    Raises:
        ValueError: there is no set, or as many weights as sets are not given.
    """
    trust = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    if not len(boxes) == len(trust) >= 1:
        raise ValueError(f"weights must be as many as sets of boxes, at least one, got {len(trust)} and {len(boxes)}")
    votes = np.concatenate([one.astype(np.float64) * weight for one, weight in zip(scores, trust, strict=True)])
    corners, classes = np.concatenate(boxes).astype(np.float64), np.concatenate(class_ids)
    cluster_of, fused = _cluster(corners, votes, classes, iou_threshold)

    members = np.bincount(cluster_of, minlength=len(fused))
    if confidence == "average":
        mean = np.bincount(cluster_of, weights=votes, minlength=len(fused)) / members
        total = mean * np.minimum(members, len(boxes)) / trust.sum()
    else:
        total = np.zeros(len(fused))
        np.maximum.at(total, cluster_of, votes)
        total /= trust.max()
    owner = np.zeros(len(fused), np.int64)
    owner[cluster_of] = classes
    final = total.astype(np.float32)
    order = best_first(final)
    return fused[order].astype(np.float32), final[order], owner[order]


def _cluster(
    boxes: NDArray[np.float64], votes: NDArray[np.float64], classes: NDArray[np.int64], iou_threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of ``N`` boxes the cluster that it joined, and the fused boxes ``(M, 4)`` in the order of founding."""
    cluster_of = np.zeros(len(boxes), np.int64)
    fused, sums, totals = np.empty_like(boxes), np.zeros_like(boxes), np.zeros(len(boxes))
    owner = np.empty(len(boxes), np.int64)
    count = 0
    for i in best_first(votes).tolist():
        overlap = np.where(owner[:count] == classes[i], iou(fused[:count], boxes[i]), 0)
        at = int(overlap.argmax()) if count else 0
        if not count or overlap[at] <= iou_threshold:
            at, count = count, count + 1
            owner[at] = classes[i]
        sums[at] += votes[i] * boxes[i]
        totals[at] += votes[i]
        fused[at] = sums[at] / totals[at]
        cluster_of[i] = at
    return cluster_of, fused[:count]
