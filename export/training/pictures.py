"""Sample predictions as one picture: what was found on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipelines.types import ByteArray

_GAP, _PAPER = 8, 255


def contact_sheet(tiles: Sequence[ByteArray], *, columns: int, side: int) -> ByteArray:
    """Lay pictures out in rows, each scaled to fit a square of ``side`` pixels; small ones are enlarged whole."""
    lines = -(-len(tiles) // columns)
    cell = side + _GAP
    sheet = np.full((lines * cell + _GAP, columns * cell + _GAP, 3), _PAPER, np.uint8)
    for i, tile in enumerate(tiles):
        factor = side / max(tile.shape[:2])
        size = (max(1, round(tile.shape[1] * factor)), max(1, round(tile.shape[0] * factor)))
        scaled = cv2.resize(tile, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
        top, left = _GAP + i // columns * cell, _GAP + i % columns * cell
        sheet[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return sheet
