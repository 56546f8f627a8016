"""Anchors: the reference boxes that a head's outputs are written against, made from the row's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.specs import DefaultBoxes, SizedAnchors
from pipelines.specs.anchors import CellStep, SizedLevel
from pipelines.types import FloatArray

Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AnchorLevel:
    """The same ``A`` boxes at every cell of one feature map.

    Attributes:
        grid_hw: cells.
        step_hw: row pixels from one centre to the next.
        center_shift: from a cell's top left corner to its centre, in cells.
        shapes: ``(A, 4)`` float64 corners relative to a centre, row pixels.
    """

    grid_hw: tuple[int, int]
    step_hw: tuple[float, float]
    center_shift: float
    shapes: Doubles

    def __len__(self) -> int:
        return math.prod(self.grid_hw) * len(self.shapes)


@dataclass(frozen=True)
class Anchors:
    """The anchors of one row: level by level, each map row by row, the anchors of a cell together.

    They are computed for the indices that are asked for and no others: a head has up to some 200,000, of which a few
    dozen count.
    """

    levels: tuple[AnchorLevel, ...]

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def at(self, indices: NDArray[np.integer[Any]]) -> Doubles:
        """Boxes ``(N, 4)`` float64 xyxy, row pixels, of the anchors at ``(N,)`` indices."""
        starts = np.cumsum([0, *map(len, self.levels)])
        boxes = np.empty((len(indices), 4), np.float64)
        level_of = np.searchsorted(starts, indices, side="right") - 1
        for i, level in enumerate(self.levels):
            here = level_of == i
            cells, shapes = np.divmod(indices[here] - starts[i], len(level.shapes))
            y, x = np.divmod(cells, level.grid_hw[1])
            centers = (np.stack((x, y), axis=1) + level.center_shift) * level.step_hw[::-1]
            boxes[here] = np.tile(centers, 2) + level.shapes[shapes]
        return boxes

    def all(self) -> Doubles:
        """Boxes ``(N, 4)`` float64 xyxy, row pixels, of all anchors."""
        return self.at(np.arange(len(self)))


def make_anchors(spec: SizedAnchors | DefaultBoxes, row_hw: tuple[int, int]) -> Anchors:
    """Lay the anchors of ``spec`` out over a row of ``row_hw``."""
    if isinstance(spec, DefaultBoxes):
        shapes = [default_shapes(spec, k, row_hw) for k in range(len(spec.levels))]
        return _lay_out([level.stride for level in spec.levels], shapes, row_hw, center_shift=0.5, step=spec.step)
    shapes = [sized_shapes(level, order=spec.order, rounding=spec.rounding) for level in spec.levels]
    strides = [level.stride for level in spec.levels]
    return _lay_out(strides, shapes, row_hw, center_shift=spec.center_shift, step=spec.step)


def make_squares(
    sides: Sequence[tuple[int, Sequence[float]]], row_hw: tuple[int, int], *, center_shift: float, step: CellStep
) -> Anchors:
    """Lay squares out over a row: for each feature map its stride and the sides of a cell's squares, row pixels."""
    shapes = [np.multiply.outer(squares, (-0.5, -0.5, 0.5, 0.5)) for _, squares in sides]
    return _lay_out([stride for stride, _ in sides], shapes, row_hw, center_shift=center_shift, step=step)


def sized_shapes(level: SizedLevel, *, order: str, rounding: str) -> Doubles:
    """Corners ``(A, 4)`` around a centre of every size with every ratio, as :class:`SizedAnchors` describes.

    Computed in float32, as torchvision and Detectron2 do, so that rounding to whole pixels meets the same ties.
    """
    sizes = np.array(level.sizes, np.float32)
    tall = np.sqrt(np.array(level.aspect_ratios, np.float32))
    wide = np.float32(1) / tall
    if order == "ratio_major":
        heights, widths = tall[:, None] * sizes, wide[:, None] * sizes  # (R, S)
    else:
        heights, widths = sizes[:, None] * tall, sizes[:, None] * wide  # (S, R)
    sides: FloatArray = np.stack((widths.ravel(), heights.ravel()), axis=1)
    shapes = np.concatenate((-sides, sides), axis=1) / 2
    return (np.round(shapes) if rounding == "half_even" else shapes).astype(np.float64)


def default_shapes(spec: DefaultBoxes, k: int, row_hw: tuple[int, int]) -> Doubles:
    """Corners ``(2 + 2 * ratios, 4)`` around a centre of SSD's default boxes of level ``k``, row pixels."""
    scale, following = spec.scales[k : k + 2]
    between = math.sqrt(scale * following)
    sides = [(scale, scale), (between, between)]
    for ratio in spec.levels[k].aspect_ratios:
        wide, narrow = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        sides += [(wide, narrow), (narrow, wide)]
    limit = 1.0 if spec.clip else np.inf
    halves: Doubles = np.minimum(np.array(sides, np.float64), limit) * row_hw[::-1] / 2
    return np.concatenate((-halves, halves), axis=1)


def _lay_out(
    strides: Sequence[int],
    shapes: Sequence[Doubles],
    row_hw: tuple[int, int],
    *,
    center_shift: float,
    step: CellStep,
) -> Anchors:
    levels = []
    for stride, boxes in zip(strides, shapes, strict=True):
        grid_hw = (math.ceil(row_hw[0] / stride), math.ceil(row_hw[1] / stride))
        steps = _step(row_hw[0], grid_hw[0], stride, step), _step(row_hw[1], grid_hw[1], stride, step)
        levels.append(AnchorLevel(grid_hw, steps, center_shift, boxes))
    return Anchors(tuple(levels))


def _step(side: int, cells: int, stride: int, step: CellStep) -> float:
    if step == "stride":
        return stride
    return side // cells if step == "spread_floor" else side / cells
