"""Stride arithmetic: which grids of cells over a row add up to a number of lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.types import AnyArray

# The strides that published heads use together, the most usual first.
_STRIDES = (
    (8, 16, 32),
    (8, 16, 32, 64, 128),
    (8, 16, 32, 64),
    (4, 8, 16, 32, 64),
    (4, 8, 16, 32),
    (16, 32),
    (8, 16),
    (8,),
    (16,),
    (32,),
    (4,),
)
_PER_CELL = (1, 3, 2, 9, 6, 4, 5)
MAP_STRIDES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class CellLayout:
    """Lines as the cells of several grids, one grid after the other.

    Attributes:
        strides: row pixels a cell, a grid each; a grid has ceil(row side / stride) cells.
        per_cell: lines of each cell.
        row_hw: of the row.
    """

    strides: tuple[int, ...]
    per_cell: int
    row_hw: tuple[int, int]

    @property
    def grids_hw(self) -> tuple[tuple[int, int], ...]:
        """Cells of each grid."""
        return tuple((-(-self.row_hw[0] // stride), -(-self.row_hw[1] // stride)) for stride in self.strides)

    @property
    def count(self) -> int:
        """Lines of all grids."""
        return self.per_cell * sum(height * width for height, width in self.grids_hw)

    def __str__(self) -> str:
        sum_of = " + ".join(f"{height}x{width}" for height, width in self.grids_hw)
        total = f"{self.per_cell} x ({sum_of})" if self.per_cell > 1 else sum_of
        return f"{self.count} = {total}, the cells of strides {', '.join(map(str, self.strides))}"

    def centers(self) -> AnyArray:
        """Centre ``(N, 2)`` x, y of each line's cell in row pixels; lines of a cell stand together."""
        parts = []
        for stride, (height, width) in zip(self.strides, self.grids_hw, strict=True):
            y, x = np.mgrid[:height, :width]
            parts.append((np.stack((x.ravel(), y.ravel()), axis=1) + 0.5) * stride)
        return np.repeat(np.concatenate(parts), self.per_cell, axis=0)


def cell_layouts(count: int, row_hw: tuple[int, int], *, per_cell: int | None = None) -> tuple[CellLayout, ...]:
    """Every layout of ``count`` lines, the most usual first."""
    every = (CellLayout(strides, lines, row_hw) for lines in _PER_CELL for strides in _STRIDES)
    return tuple(layout for layout in every if layout.count == count and per_cell in (None, layout.per_cell))


def map_stride(map_hw: tuple[int, int], row_hw: tuple[int, int]) -> int | None:
    """Row pixels a cell of a map over the row, where both sides agree on one."""
    for stride in MAP_STRIDES:
        if CellLayout((stride,), 1, row_hw).grids_hw[0] == map_hw:
            return stride
    return None
