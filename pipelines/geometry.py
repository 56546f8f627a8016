"""Affine: where a pixel of the original image lands in the model's row, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.types import FloatArray


@dataclass(frozen=True)
class Affine:
    """Scale, then shift: ``row = source * scale_xy + offset_xy`` in continuous pixels (edges at 0 and width).

    Attributes:
        src_hw: original image, after EXIF orientation.
        dst_hw: the model's row.
        scale_xy: row pixels per source pixel.
        offset_xy: where the source's top left corner lands in the row; negative where it was cropped away.
    """

    src_hw: tuple[int, int]
    dst_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def points_to_row(self, points: FloatArray) -> FloatArray:
        """Move ``(..., 2)`` x, y from the source into the row."""
        moved = points.astype(np.float64) * self.scale_xy + self.offset_xy
        return moved.astype(np.float32)

    def points_to_source(self, points: FloatArray) -> FloatArray:
        """Move ``(..., 2)`` x, y from the row into the source; not clipped."""
        moved = (points.astype(np.float64) - self.offset_xy) / self.scale_xy
        return moved.astype(np.float32)

    def boxes_to_row(self, boxes: FloatArray) -> FloatArray:
        """Move ``(N, 4)`` xyxy from the source into the row."""
        return self.points_to_row(boxes.reshape(-1, 2, 2)).reshape(-1, 4)

    def boxes_to_source(self, boxes: FloatArray) -> FloatArray:
        """Move ``(N, 4)`` xyxy from the row into the source; not clipped."""
        return self.points_to_source(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
