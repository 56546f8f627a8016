"""Pairs that a verification finds hardest, as one picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from export.training.pictures import contact_sheet
from pipelines.types import ByteArray
from pipelines.verification import Pairs

_EACH, _COLUMNS, _SIDE, _FRAME = 6, 4, 224, 4
_GENUINE, _IMPOSTOR = (0, 158, 115), (213, 94, 0)  # Okabe and Ito's green and vermilion.


def hardest_pairs(pairs: Pairs, read: Callable[[int], ByteArray]) -> ByteArray:
    """Lay out the genuine pairs that are least alike, framed green, then the impostors most alike, framed red.

    Args:
        pairs: of a verification.
        read: the image of an index, ``(H, W, 3)`` uint8 RGB.
    """
    order = np.argsort(pairs.scores, kind="stable")
    least = [i for i in order.tolist() if pairs.genuine[i]][:_EACH]
    most = [i for i in order[::-1].tolist() if not pairs.genuine[i]][:_EACH]
    tiles = []
    for i in (*least, *most):
        first, second = (read(index) for index in pairs.images[i].tolist())
        tiles.append(_tile(first, second, float(pairs.scores[i]), _GENUINE if pairs.genuine[i] else _IMPOSTOR))
    return contact_sheet(tiles, columns=_COLUMNS, side=_SIDE)


def _tile(first: ByteArray, second: ByteArray, cosine: float, color: tuple[int, int, int]) -> ByteArray:
    """Both images beside each other at one height, framed, with their cosine."""
    height = _SIDE * 5 // 8
    sides = [cv2.resize(image, (_SIDE // 2, height), interpolation=cv2.INTER_AREA) for image in (first, second)]
    tile = cv2.copyMakeBorder(np.hstack(sides), _FRAME, _FRAME, _FRAME, _FRAME, cv2.BORDER_CONSTANT, value=color)
    text = f"{cosine:.3f}"
    (width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    cv2.rectangle(tile, (0, 0), (width + 8, text_height + 8), color, -1)
    cv2.putText(tile, text, (4, text_height + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)
