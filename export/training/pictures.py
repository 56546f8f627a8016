"""Sample predictions as one picture: what was found on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipelines.types import ByteArray

_GAP, _PAPER = 8, 255


def contact_sheet(tiles: Sequence[ByteArray], *, columns: int, side: int) -> ByteArray:
    """Lay pictures out in rows, each scaled to fit a square of ``side`` pixels; small ones are enlarged whole.

    A row is as high as its highest picture.
    """
    scaled = [_fitted(tile, side) for tile in tiles]
    lines = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    heights = [max(tile.shape[0] for tile in line) for line in lines]
    sheet = np.full((sum(heights) + _GAP * (len(lines) + 1), columns * (side + _GAP) + _GAP, 3), _PAPER, np.uint8)
    top = _GAP
    for line, height in zip(lines, heights, strict=True):
        for i, tile in enumerate(line):
            left = _GAP + i * (side + _GAP)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += height + _GAP
    return sheet


def _fitted(tile: ByteArray, side: int) -> ByteArray:
    factor = side / max(tile.shape[:2])
    size = (max(1, round(tile.shape[1] * factor)), max(1, round(tile.shape[0] * factor)))
    scaled = cv2.resize(tile, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    return np.asarray(scaled, np.uint8)
