"""Naive loops: slow, obvious versions of anchors and of the decoders that use them, written from the definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

from pipelines.decoders.candidates import Candidates
from pipelines.specs import (
    BoxDelta,
    DefaultBoxes,
    FacePriors,
    Fcos,
    RetinaLandmarks,
    SetPrediction,
    SizedAnchors,
)
from pipelines.types import AnyArray
from tests.reference import Found, sigmoid, softmax

Box = tuple[float, float, float, float]
Outputs = dict[str, AnyArray]


def agree(found: Candidates, expected: Sequence[Found]) -> None:
    """Candidates equal the naive ones, in their order."""
    assert len(found) == len(expected)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.class_ids.dtype == np.int64
    # float32 holds 7 digits: corners below a million pixels, and sums of float32 exponentials.
    assert_allclose(found.boxes, np.array([e[0] for e in expected]).reshape(-1, 4), rtol=1e-5, atol=1e-3)
    assert_allclose(found.scores, [e[1] for e in expected], rtol=2e-5)
    assert found.class_ids.tolist() == [e[2] for e in expected]


# --- anchors ----------------------------------------------------------------------------------------------------------


def cells(row_hw: tuple[int, int], stride: int, step: str, center_shift: float) -> list[tuple[float, float]]:
    """Centres x, y of the cells of a map, row by row."""
    rows, columns = math.ceil(row_hw[0] / stride), math.ceil(row_hw[1] / stride)
    step_y, step_x = {
        "stride": (float(stride), float(stride)),
        "spread": (row_hw[0] / rows, row_hw[1] / columns),
        "spread_floor": (float(row_hw[0] // rows), float(row_hw[1] // columns)),
    }[step]
    return [((x + center_shift) * step_x, (y + center_shift) * step_y) for y in range(rows) for x in range(columns)]


def around(center: tuple[float, float], width: float, height: float) -> Box:
    x, y = center
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def anchors(spec: SizedAnchors | DefaultBoxes, row_hw: tuple[int, int]) -> list[Box]:
    return default_boxes(spec, row_hw) if isinstance(spec, DefaultBoxes) else sized_anchors(spec, row_hw)


def sized_anchors(spec: SizedAnchors, row_hw: tuple[int, int]) -> list[Box]:
    boxes: list[Box] = []
    for level in spec.levels:
        if spec.order == "ratio_major":
            shapes = [(size, ratio) for ratio in level.aspect_ratios for size in level.sizes]
        else:
            shapes = [(size, ratio) for size in level.sizes for ratio in level.aspect_ratios]
        for x, y in cells(row_hw, level.stride, spec.step, spec.center_shift):
            for size, ratio in shapes:
                half_width, half_height = size / math.sqrt(ratio) / 2, size * math.sqrt(ratio) / 2
                if spec.rounding == "half_even":
                    half_width, half_height = round(half_width), round(half_height)
                boxes.append((x - half_width, y - half_height, x + half_width, y + half_height))
    return boxes


def default_boxes(spec: DefaultBoxes, row_hw: tuple[int, int]) -> list[Box]:
    boxes: list[Box] = []
    for k, level in enumerate(spec.levels):
        shapes = [(spec.scales[k],) * 2, (math.sqrt(spec.scales[k] * spec.scales[k + 1]),) * 2]
        for ratio in level.aspect_ratios:
            wide, narrow = spec.scales[k] * math.sqrt(ratio), spec.scales[k] / math.sqrt(ratio)
            shapes += [(wide, narrow), (narrow, wide)]
        for center in cells(row_hw, level.stride, spec.step, 0.5):
            for width, height in shapes:
                if spec.clip:
                    width, height = min(width, 1), min(height, 1)
                boxes.append(around(center, width * row_hw[1], height * row_hw[0]))
    return boxes


# --- decoders ---------------------------------------------------------------------------------------------------------


def chances(line: AnyArray, activation: str, background: str) -> list[float]:
    """Probabilities of the classes of one line, without the background."""
    values = [float(value) for value in line]
    if activation == "softmax":
        values = softmax(values)
    elif activation == "sigmoid":
        values = [sigmoid(value) for value in values]
    return {"first": values[1:], "last": values[:-1], "none": values}[background]


def moved(anchor: Box, deltas: Sequence[float], weights: Sequence[float], limit: float | None) -> Box:
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    dx, dy, dw, dh = (float(delta) / weight for delta, weight in zip(deltas, weights, strict=True))
    if limit is not None:
        dw, dh = min(dw, limit), min(dh, limit)
    center = (anchor[0] + anchor[2]) / 2 + dx * width, (anchor[1] + anchor[3]) / 2 + dy * height
    return around(center, width * math.exp(dw), height * math.exp(dh))


def clipped(box: Box, row_hw: tuple[int, int]) -> Box:
    height, width = row_hw
    x1, y1, x2, y2 = box
    return min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height)


def box_delta(outputs: Outputs, spec: BoxDelta, *, row_hw: tuple[int, int], score_threshold: float) -> list[Found]:
    classes, deltas = outputs[spec.classes], outputs[spec.deltas]
    references: Sequence[Any]
    references = outputs[spec.proposals].tolist() if spec.proposals else anchors(spec.anchors, row_hw)  # type: ignore[arg-type]
    found: list[Found] = []
    for i, anchor in enumerate(references):
        for class_id, score in enumerate(chances(classes[i], spec.class_activation, spec.background)):
            if score < score_threshold:
                continue
            column = class_id + (1 if spec.background == "first" else 0)
            at = 4 * {"anchor": 0, "column": column, "class": class_id}[spec.deltas_per]
            box = moved(anchor, deltas[i][at : at + 4], spec.weights, spec.max_log_scale)
            if spec.clip_to_row:
                box = clipped(box, row_hw)
            if min(box[2] - box[0], box[3] - box[1]) >= spec.min_side or spec.min_side == 0:
                found.append((box, score, class_id))
    return found


def fcos(outputs: Outputs, spec: Fcos, *, row_hw: tuple[int, int], score_threshold: float) -> list[Found]:
    points = [
        (point, stride) for stride in spec.strides for point in cells(row_hw, stride, spec.step, spec.center_shift)
    ]
    found: list[Found] = []
    for i, ((x, y), stride) in enumerate(points):
        central = sigmoid(float(outputs[spec.centerness][i][0]))
        for class_id, chance in enumerate(chances(outputs[spec.classes][i], "sigmoid", "none")):
            score = math.sqrt(chance * central) if spec.score == "geometric_mean" else chance * central
            if score < score_threshold:
                continue
            unit = stride if spec.distance_unit == "stride" else 1
            left, top, right, bottom = (float(d) * unit for d in outputs[spec.distances][i])
            box = (x - left, y - top, x + right, y + bottom)
            found.append((clipped(box, row_hw) if spec.clip_to_row else box, score, class_id))
    return found


def set_prediction(
    outputs: Outputs, spec: SetPrediction, *, row_hw: tuple[int, int], score_threshold: float
) -> list[Found]:
    every: list[Found] = []
    for line, (cx, cy, width, height) in zip(outputs[spec.classes], outputs[spec.boxes].tolist(), strict=True):
        scores = chances(line, spec.class_activation, spec.background)
        box = around((cx * row_hw[1], cy * row_hw[0]), width * row_hw[1], height * row_hw[0])
        of_query = [(box, score, class_id) for class_id, score in enumerate(scores)]
        every += [max(of_query, key=lambda one: one[1])] if spec.per == "query" else of_query
    if spec.top_k is not None:
        every = sorted(every, key=lambda one: -one[1])[: spec.top_k]
    return [one for one in every if one[1] >= score_threshold]


def retina_landmarks(
    outputs: Outputs, spec: RetinaLandmarks, *, row_hw: tuple[int, int], score_threshold: float
) -> tuple[list[Found], list[list[tuple[float, float]]]]:
    """Faces, and the points of each."""
    centers: list[tuple[tuple[float, float], float]] = []  # and the prior's side, or the stride
    if isinstance(spec.coding, FacePriors):
        for level in spec.coding.levels:
            for center in cells(row_hw, level.stride, "stride", spec.center_shift):
                centers += [(center, side) for side in level.min_sizes]
    else:
        for stride in spec.coding.strides:
            for center in cells(row_hw, stride, "stride", spec.center_shift):
                centers += [(center, stride)] * spec.coding.anchors_per_cell
    classes, boxes = (np.concatenate([outputs[name] for name in names]) for names in (spec.classes, spec.boxes))
    landmarks = None if spec.landmarks is None else np.concatenate([outputs[name] for name in spec.landmarks])
    found: list[Found] = []
    points: list[list[tuple[float, float]]] = []
    for i, ((x, y), unit) in enumerate(centers):
        (score,) = chances(classes[i], spec.class_activation, spec.background)
        if score < score_threshold:
            continue
        a, b, c, d = (float(value) for value in boxes[i])
        if isinstance(spec.coding, FacePriors):
            near, grow = spec.coding.variances
            center = x + a * near * unit, y + b * near * unit
            box = around(center, unit * math.exp(c * grow), unit * math.exp(d * grow))
        else:
            near = 1.0
            box = (x - a * unit, y - b * unit, x + c * unit, y + d * unit)
        found.append((box, score, 0))
        if landmarks is not None:
            values = landmarks[i].tolist()
            points.append([(x + values[k] * near * unit, y + values[k + 1] * near * unit) for k in range(0, 10, 2)])
    return found, points


# --- the way back -----------------------------------------------------------------------------------------------------


def encode_deltas(boxes: AnyArray, references: AnyArray, weights: Sequence[float]) -> AnyArray:
    """What a head must say so that each reference ``(N, 4)`` xyxy becomes its box."""
    sides, wanted = references[:, 2:] - references[:, :2], boxes[:, 2:] - boxes[:, :2]
    move = ((boxes[:, :2] + boxes[:, 2:]) - (references[:, :2] + references[:, 2:])) / 2 / sides
    return np.concatenate((move, np.log(wanted / sides)), axis=1) * np.array(weights)


def encode_distances(boxes: AnyArray, points: AnyArray) -> AnyArray:
    """Distances ``(N, 4)`` from points ``(N, 2)`` to the sides of boxes."""
    return np.concatenate((points - boxes[:, :2], boxes[:, 2:] - points), axis=1)
