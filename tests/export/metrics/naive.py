"""Metrics as loops over their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tests.reference import iou


def expected_calibration_error(confidence: Sequence[float], right: Sequence[bool], *, num_bins: int) -> float:
    """Guo et al., arXiv:1706.04599, equation 3: bins (0, 1/M], (1/M, 2/M] ..."""
    total = 0.0
    for b in range(num_bins):
        low, high = b / num_bins, (b + 1) / num_bins
        inside = [i for i, value in enumerate(confidence) if low < value <= high]
        if inside:
            sure = sum(confidence[i] for i in inside) / len(inside)
            accuracy = sum(right[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - sure)
    return total


def average_precision(
    truths: Sequence[Sequence[Any]], found: Sequence[Sequence[tuple[Any, float]]], *, iou_threshold: float
) -> float:
    """COCO's AP of one class: greedy matching from the best score on, precision read at 101 recalls."""
    matched: list[tuple[float, bool]] = []
    for boxes, answers in zip(truths, found, strict=True):
        free = list(range(len(boxes)))
        for box, score in sorted(answers, key=lambda answer: -answer[1]):
            best = max(free, key=lambda i: iou(boxes[i], box), default=None)
            hit = best is not None and iou(boxes[best], box) >= iou_threshold
            if hit:
                free.remove(best)
            matched.append((score, hit))
    matched.sort(key=lambda row: -row[0])
    curve, hits = [], 0
    for position, (_, hit) in enumerate(matched, start=1):
        hits += hit
        curve.append((hits / sum(map(len, truths)), hits / position))
    # r * 0.01: COCO's grid as it is computed; 70 * 0.01 is above 0.7, so seven of ten objects do not reach it.
    reached = [max((precision for recall, precision in curve if recall >= r * 0.01), default=0.0) for r in range(101)]
    return sum(reached) / 101


def tar_at_far(genuine: Sequence[float], impostor: Sequence[float], far: float) -> float:
    """The best true accept rate of all thresholds whose false accept rate is at most ``far``."""
    best = 0.0
    for threshold in {*genuine, *impostor}:
        if sum(score >= threshold for score in impostor) <= far * len(impostor):
            best = max(best, sum(score >= threshold for score in genuine) / len(genuine))
    return best


def equal_error_rate(genuine: Sequence[float], impostor: Sequence[float]) -> float:
    """Where the line through neighbouring (false accept, false reject) points meets the diagonal."""
    points = [(0.0, 1.0)]
    for threshold in sorted({*genuine, *impostor}, reverse=True):
        accepted = sum(score >= threshold for score in impostor) / len(impostor)
        rejected = sum(score < threshold for score in genuine) / len(genuine)
        points.append((accepted, rejected))
    for (far_a, frr_a), (far_b, frr_b) in itertools.pairwise(points):
        if far_b >= frr_b:
            share = (frr_a - far_a) / ((frr_a - far_a) - (frr_b - far_b))
            return far_a + share * (far_b - far_a)
    raise AssertionError("the last threshold accepts everything")
