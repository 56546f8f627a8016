"""Candidates: what every decoder answers, before suppression and in pixels of the row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelOutputError
from pipelines.types import FloatArray


@dataclass(frozen=True, eq=False)
class Candidates:
    """``N`` possible objects of one row, in no promised order.

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy, row pixels.
        scores: ``(N,)`` float32, each at or above the threshold that the decoder was given.
        class_ids: ``(N,)`` int64, each below ``num_classes``.
        num_classes: how many classes the outputs hold.
        keypoints: ``(N, K, 3)`` float32 x, y, score, row pixels; or ``None``.
        polygons: ``N`` outlines ``(P, 2)`` float32 x, y, row pixels; or ``None``.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]
    num_classes: int
    keypoints: FloatArray | None = None
    polygons: tuple[FloatArray, ...] | None = None

    def __len__(self) -> int:
        return len(self.boxes)


def require_grid(name: str, grid_hw: tuple[int, int], row_hw: tuple[int, int], stride: int) -> None:
    """Raise ModelOutputError where a map of ``grid_hw`` cells of ``stride`` pixels does not cover the row.

    A side that is no multiple of the stride may be rounded up or down.
    """
    if any(abs(cells * stride - side) >= stride for cells, side in zip(grid_hw, row_hw, strict=True)):
        raise ModelOutputError(
            f"output {name!r} must cover a row of {row_hw[0]} x {row_hw[1]} at stride {stride}, "
            f"got {grid_hw[0]} x {grid_hw[1]} cells"
        )
