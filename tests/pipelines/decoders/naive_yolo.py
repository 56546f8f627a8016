"""The YOLO heads cell by cell: slow, obvious loops written from the formulas, and their inverses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipelines.decoders.candidates import Candidates
from pipelines.geometry import Affine
from pipelines.types import AnyArray
from tests.reference import Found, sigmoid, softmax

QUIET = -20.0  # a logit of no object
SURE = 20.0  # a logit of an object: its sigmoid is 1 in float32
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "decoders"


def require_equal(found: Candidates, expected: Sequence[Found]) -> None:
    """The same candidates; decoders go class by class or place by place, so both are compared class by class."""
    order = np.argsort(found.class_ids, kind="stable")
    wanted = sorted(expected, key=lambda row: row[2])  # stable, too
    assert found.class_ids[order].tolist() == [class_id for _, _, class_id in wanted]
    np.testing.assert_allclose(found.scores[order], [score for _, score, _ in wanted], rtol=1e-5)  # float32 activations
    boxes = np.array([box for box, _, _ in wanted], np.float64).reshape(-1, 4)
    np.testing.assert_allclose(found.boxes[order], boxes, rtol=1e-5, atol=1e-3)  # float32 logits, in pixels


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))


def labels_of(scores: Sequence[float], *, threshold: float, multi_label: bool) -> list[int]:
    """The classes of one place that are candidates: all at or above the threshold, or the best (ties: the lower)."""
    if multi_label:
        return [c for c, score in enumerate(scores) if score >= np.float32(threshold)]
    best = max(range(len(scores)), key=lambda c: (scores[c], -c))
    return [best] if scores[best] >= np.float32(threshold) else []


def cells(row_hw: tuple[int, int], strides: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Stride, x, y of every cell, stride by stride and row by row."""
    for stride in strides:
        for y in range(row_hw[0] // stride):
            for x in range(row_hw[1] // stride):
                yield stride, x, y


def box_around(cx: float, cy: float, width: float, height: float) -> tuple[float, float, float, float]:
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def yolo_v5(
    grids: Sequence[AnyArray],
    *,
    strides: Sequence[int],
    anchors: Sequence[Sequence[tuple[float, float]]],
    threshold: float,
    multi_label: bool,
) -> list[Found]:
    """Candidates of raw ``(A, h, w, 5 + C)`` grids."""
    found: list[Found] = []
    for grid, stride, sizes in zip(grids, strides, anchors, strict=True):
        for a, y, x in np.ndindex(*grid.shape[:3]):
            tx, ty, tw, th, objectness, *classes = (sigmoid(float(v)) for v in grid[a, y, x])
            box = box_around(
                (2 * tx - 0.5 + x) * stride,
                (2 * ty - 0.5 + y) * stride,
                (2 * tw) ** 2 * sizes[a][0],
                (2 * th) ** 2 * sizes[a][1],
            )
            scores = [objectness * p for p in classes]
            found += [(box, scores[c], c) for c in labels_of(scores, threshold=threshold, multi_label=multi_label)]
    return found


def scored_rows(rows: AnyArray, *, threshold: float, multi_label: bool) -> list[Found]:
    """Candidates of decoded rows ``(N, 5 + C)``: centre, sides, objectness, classes."""
    found: list[Found] = []
    for cx, cy, width, height, objectness, *classes in rows.tolist():
        scores = [objectness * p for p in classes]
        box = box_around(cx, cy, width, height)
        found += [(box, scores[c], c) for c in labels_of(scores, threshold=threshold, multi_label=multi_label)]
    return found


def yolox(
    rows: AnyArray,
    *,
    row_hw: tuple[int, int],
    strides: Sequence[int],
    activation: str,
    threshold: float,
    multi_label: bool,
) -> list[Found]:
    """Candidates of raw rows ``(N, 5 + C)``."""
    found: list[Found] = []
    for (stride, x, y), row in zip(cells(row_hw, strides), rows.tolist(), strict=True):
        objectness, *classes = [sigmoid(v) if activation == "sigmoid" else v for v in row[4:]]
        box = box_around(
            (x + row[0]) * stride, (y + row[1]) * stride, math.exp(row[2]) * stride, math.exp(row[3]) * stride
        )
        scores = [objectness * p for p in classes]
        found += [(box, scores[c], c) for c in labels_of(scores, threshold=threshold, multi_label=multi_label)]
    return found


def distances(bins: Sequence[float], reg_max: int) -> list[float]:
    """Left, top, right, bottom in cells: the expected bin of each side."""
    sides = [softmax(bins[side * reg_max : (side + 1) * reg_max]) for side in range(4)]
    return [sum(i * chance for i, chance in enumerate(chances)) for chances in sides]


def bins_of(distance: float, reg_max: int) -> list[float]:
    """Logits whose expected bin is ``distance``: two neighbouring bins share it, as in equation 6 of the paper."""
    low = min(int(distance), reg_max - 2)
    chances = [1e-12] * reg_max
    chances[low], chances[low + 1] = max(low + 1 - distance, 1e-12), max(distance - low, 1e-12)
    return [math.log(chance) for chance in chances]


def turned(x: float, y: float, angle: float) -> tuple[float, float]:
    """A point turned about the origin, from x towards y."""
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def rotated_corners(cx: float, cy: float, width: float, height: float, angle: float) -> list[tuple[float, float]]:
    """Corners of a turned box, clockwise from what is its top left at angle 0."""
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    shifts = [turned(sx * width / 2, sy * height / 2, angle) for sx, sy in signs]
    return [(cx + x, cy + y) for x, y in shifts]


def dfl_column(
    column: Sequence[float], *, reg_max: int, cell: tuple[int, int], stride: int, angle: float | None = None
) -> tuple[float, float, float, float]:
    """Centre and sides of one raw column's box; ``angle`` turns its middle about the cell's centre."""
    left, top, right, bottom = distances(column, reg_max)
    shift = ((right - left) / 2, (bottom - top) / 2)
    if angle is not None:
        shift = turned(*shift, angle)
    cx, cy = cell[0] + 0.5 + shift[0], cell[1] + 0.5 + shift[1]
    return cx * stride, cy * stride, (left + right) * stride, (top + bottom) * stride


def yolo_dfl(
    columns: AnyArray,
    *,
    row_hw: tuple[int, int],
    strides: Sequence[int],
    reg_max: int,
    num_classes: int,
    threshold: float,
    multi_label: bool,
) -> list[Found]:
    """Candidates of raw columns ``(4*reg_max + C + E, N)`` without regard to what follows the classes."""
    found: list[Found] = []
    for (stride, x, y), column in zip(cells(row_hw, strides), columns.T.tolist(), strict=True):
        box = box_around(*dfl_column(column, reg_max=reg_max, cell=(x, y), stride=stride))
        scores = [sigmoid(v) for v in column[4 * reg_max : 4 * reg_max + num_classes]]
        found += [(box, scores[c], c) for c in labels_of(scores, threshold=threshold, multi_label=multi_label)]
    return found


def assemble_mask(coefficients: AnyArray, prototypes: AnyArray, affine: Affine) -> AnyArray:
    """Probabilities of the whole original image, pixel by pixel: bilinear between the centres of the cells."""
    mask_h, mask_w = prototypes.shape[1:]
    coarse = [
        [
            sigmoid(float(sum(float(c) * float(p) for c, p in zip(coefficients, prototypes[:, y, x], strict=True))))
            for x in range(mask_w)
        ]
        for y in range(mask_h)
    ]
    mask = np.zeros(affine.src_hw, np.float64)
    for y, x in np.ndindex(*affine.src_hw):
        row_x, row_y = affine.points_to_row(np.array((x + 0.5, y + 0.5), np.float32)).tolist()
        at_y = min(max(row_y * mask_h / affine.dst_hw[0] - 0.5, 0), mask_h - 1)
        at_x = min(max(row_x * mask_w / affine.dst_hw[1] - 0.5, 0), mask_w - 1)
        top, left = int(at_y), int(at_x)
        bottom, right = min(top + 1, mask_h - 1), min(left + 1, mask_w - 1)
        down, across = at_y - top, at_x - left
        mask[y, x] = (
            coarse[top][left] * (1 - down) * (1 - across)
            + coarse[top][right] * (1 - down) * across
            + coarse[bottom][left] * down * (1 - across)
            + coarse[bottom][right] * down * across
        )
    return mask
