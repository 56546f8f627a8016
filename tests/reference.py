"""Naive loops: slow, obvious versions of the vectorised maths, written from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from pipelines.specs import CenterHeatmap, ProbabilityMap, YoloGrid
from pipelines.types import AnyArray

Found = tuple[tuple[float, float, float, float], float, int]
"""A candidate: box, score, class id."""


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(value - max(logits)) for value in logits]
    return [power / sum(powers) for power in powers]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def iou(a: AnyArray, b: AnyArray) -> float:
    a, b = [float(v) for v in a], [float(v) for v in b]  # type: ignore[assignment]
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def ioa(a: AnyArray, b: AnyArray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    covered = max(0.0, float(width)) * max(0.0, float(height))
    return covered / float((a[2] - a[0]) * (a[3] - a[1])) if covered else 0.0


def giou(a: AnyArray, b: AnyArray) -> float:
    """IoU less the part of the enclosing box that is in neither."""
    sizes = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    overlap = iou(a, b)
    union = sum(sizes) / (1 + overlap)
    hull = float((max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1])))
    return overlap - (hull - union) / hull if hull else overlap


def diou(a: AnyArray, b: AnyArray) -> float:
    """IoU less the distance of the centres over the enclosing diagonal, both squared."""
    centers = [((float(box[0]) + float(box[2])) / 2, (float(box[1]) + float(box[3])) / 2) for box in (a, b)]
    diagonal = math.dist(
        (min(a[0], b[0]), min(a[1], b[1])),
        (max(a[2], b[2]), max(a[3], b[3])),
    )
    return iou(a, b) - (math.dist(*centers) ** 2 / diagonal**2 if diagonal else 0)


def ciou(a: AnyArray, b: AnyArray) -> float:
    """Distance IoU less the difference in aspect, weighted."""
    angles = [math.atan2(float(box[2] - box[0]), float(box[3] - box[1])) for box in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return diou(a, b) - (v * v / (1 - iou(a, b) + v) if v else 0)


def nms(
    boxes: AnyArray,
    scores: AnyArray,
    class_ids: AnyArray | None,
    *,
    iou_threshold: float,
    overlap: Callable[[AnyArray, AnyArray], float] = iou,
) -> list[int]:
    """Greedy suppression; ``class_ids`` None lets all boxes suppress each other."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if class_ids is None or class_ids[i] == class_ids[j]]
        if all(overlap(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append(i)
    return kept


def soft_nms(
    boxes: AnyArray,
    scores: AnyArray,
    class_ids: AnyArray,
    *,
    factor: Callable[[float], float],
    score_threshold: float,
) -> list[tuple[int, float]]:
    """The loop of arXiv:1704.04503, figure 2, class by class: kept indices and their scores, in the order of taking."""
    waiting = {i: float(score) for i, score in enumerate(scores)}
    taken = []
    while waiting:
        best = max(waiting, key=lambda i: (waiting[i], -i))
        taken.append((best, waiting.pop(best)))
        for i in waiting:
            if class_ids[i] == class_ids[best]:
                waiting[i] *= factor(iou(boxes[best], boxes[i]))
    return [(i, score) for i, score in taken if score >= score_threshold]


def center_heatmap(
    outputs: dict[str, AnyArray], spec: CenterHeatmap, *, row_hw: tuple[int, int], score_threshold: float
) -> tuple[list[Found], list[list[tuple[float, float]]]]:
    """Candidates and their landmarks, cell by cell."""
    heatmap = outputs[spec.heatmap]
    x_at, y_at = (0, 1) if spec.axis_order == "xy" else (1, 0)
    found: list[Found] = []
    landmarks: list[list[tuple[float, float]]] = []
    for c, y, x in np.ndindex(*heatmap.shape):
        reach = spec.peak_kernel // 2
        window = heatmap[c, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        if heatmap[c, y, x] < np.float32(score_threshold) or (reach and heatmap[c, y, x] < window.max()):
            continue
        center: dict[int, float] = {}
        side: dict[int, float] = {}
        for axis, cell in ((x_at, x), (y_at, y)):
            center[axis] = (cell + float(outputs[spec.offset][axis, y, x]) + spec.center_shift) * spec.stride
            size = float(outputs[spec.size][axis, y, x])
            side[axis] = (math.exp(size) if spec.size_encoding == "log" else size) * spec.stride
        corners: dict[int, tuple[float, float]] = {}
        for axis, limit in ((x_at, row_hw[1]), (y_at, row_hw[0])):
            low = min(max(center[axis] - side[axis] / 2, 0), limit)
            high = low + side[axis] if spec.size_encoding == "log" else center[axis] + side[axis] / 2
            corners[axis] = (low, min(max(high, 0), limit))
        box = (corners[x_at][0], corners[y_at][0], corners[x_at][1], corners[y_at][1])
        found.append((box, float(heatmap[c, y, x]), c))
        if spec.landmarks is not None:
            values = outputs[spec.landmarks][:, y, x]
            landmarks.append(
                [
                    (
                        box[0] + float(values[2 * k + x_at]) * side[x_at],
                        box[1] + float(values[2 * k + y_at]) * side[y_at],
                    )
                    for k in range(len(values) // 2)
                ]
            )
    return found, landmarks


def probability_map(
    probabilities: AnyArray, spec: ProbabilityMap, *, score_threshold: float
) -> list[tuple[AnyArray, AnyArray, float]]:
    """Centre, sides and score of each region, step by step as PP-OCR: its outline grows by round joins."""
    mask = (probabilities > np.float32(spec.binarize_threshold)).astype(np.uint8)
    if spec.dilate:
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    turn = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    found = []
    for contour in contours[: spec.max_candidates]:
        rectangle = cv2.minAreaRect(contour)
        corners, (length, height) = cv2.boxPoints(rectangle), rectangle[1]
        if min(length, height) < spec.min_side:
            continue
        low = np.floor(corners.min(axis=0)).clip(0)  # they cut corners to whole pixels from the window's start
        inside = np.zeros(probabilities.shape, np.uint8)
        cv2.fillPoly(inside, [((corners - low).astype(np.int32) + low).astype(np.int32)], (1,))
        score = float(probabilities[inside > 0].astype(np.float64).mean())
        distance = length * height * spec.unclip_ratio / (2 * (length + height))
        circle = distance * np.stack((np.cos(turn), np.sin(turn)), axis=1)
        center, sides, _ = cv2.minAreaRect((corners[:, None] + circle).reshape(-1, 2).astype(np.float32))
        if np.float32(score) >= np.float32(score_threshold) and min(sides) >= spec.min_side + 2:
            found.append((np.array(center), np.array(sides), score))
    return found


def yolo_grid(grids: Sequence[AnyArray], spec: YoloGrid, *, score_threshold: float) -> list[Found]:
    """Candidates of scales given as ``(h, w, A, 5 + C)``, anchor by anchor."""
    found: list[Found] = []
    for grid, stride, anchors in zip(grids, spec.strides, spec.anchors, strict=True):
        for y, x, a in np.ndindex(*grid.shape[:3]):
            tx, ty, tw, th, objectness, *classes = (float(v) for v in grid[y, x, a])
            if spec.objectness == "sigmoid":
                objectness = sigmoid(objectness)
            chances = softmax(classes) if spec.class_activation == "softmax" else [sigmoid(v) for v in classes]
            class_id = max(range(len(chances)), key=lambda c: (chances[c], -c))
            score = objectness * chances[class_id]
            if score < score_threshold:
                continue
            unit = stride if spec.anchor_unit == "cell" else 1
            width, height = anchors[a][0] * unit * math.exp(tw), anchors[a][1] * unit * math.exp(th)
            cx, cy = (x + sigmoid(tx)) * stride, (y + sigmoid(ty)) * stride
            found.append(((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), score, class_id))
    return found


def best_classes(scores: Sequence[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]


def argmax_first(values: Any) -> AnyArray:
    """Index of the largest of ``(C, H, W)`` for every pixel; of equals the lowest."""
    result = np.zeros(values.shape[1:], np.int64)
    for y, x in np.ndindex(*result.shape):
        column = [float(v) for v in values[:, y, x]]
        result[y, x] = column.index(max(column))
    return result
