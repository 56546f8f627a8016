"""``contact_sheet.png``: a grid of small overlays with their names."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.present import encode_png
from serving.batch.draw import THUMBNAIL_HW

COLUMNS = 6
_GAP, _TEXT, _CHARACTERS = 8, 18, 34


def contact_sheet(thumbnails: Sequence[tuple[str, bytes]]) -> bytes:
    """PNG of ``(name, JPEG)`` cells, six in a row; no bytes where there is none."""
    if not thumbnails:
        return b""
    height, width = THUMBNAIL_HW
    columns = min(COLUMNS, len(thumbnails))
    rows = -(-len(thumbnails) // columns)
    cell_hw = (height + _TEXT + _GAP, width + _GAP)
    sheet = Image.new("RGB", (columns * cell_hw[1] + _GAP, rows * cell_hw[0] + _GAP), (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for i, (name, png) in enumerate(thumbnails):
        top, left = _GAP + i // columns * cell_hw[0], _GAP + i % columns * cell_hw[1]
        picture = Image.open(io.BytesIO(png))
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        pen.text((left, top + height + 2), _short(name), fill=(60, 60, 60), font=font)
    return encode_png(np.asarray(sheet))


def _short(name: str) -> str:
    """The end of a name, in characters that every font has."""
    shown = name.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
    return shown if len(shown) <= _CHARACTERS else "..." + shown[3 - _CHARACTERS :]
