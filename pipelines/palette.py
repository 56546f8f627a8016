"""Class maps as PNG files with a palette: each stored value is its class, and every viewer shows it in a colour."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipelines.errors import ImageDecodeError
from pipelines.types import AnyArray, ByteArray

MOST_CLASSES = 256
_BIT_DEPTH_AT = 24  # in the header chunk, which comes first (PNG, 11.2.2)


def colors(num_classes: int = MOST_CLASSES) -> ByteArray:
    """RGB colour ``(num_classes, 3)`` of each class, class 0 black: Pascal VOC's, which every tool of the field knows.

    Bit ``3 k``, ``3 k + 1``, ``3 k + 2`` of a class becomes bit ``7 - k`` of its red, green, blue (VOC2012 development
    kit, ``VOClabelcolormap``).
    """
    ids = np.arange(num_classes)
    made = np.zeros((num_classes, 3), np.uint8)
    for k in range(8):
        for channel in range(3):
            made[:, channel] |= (((ids >> (3 * k + channel)) & 1) << (7 - k)).astype(np.uint8)
    return made


def encode_palette_png(class_map: AnyArray) -> bytes:
    """Encode a class map ``(H, W)`` of unsigned integers below 256, without loss; raises ValueError for others."""
    if class_map.ndim != 2 or not class_map.size or class_map.dtype.kind != "u" or class_map.max() >= MOST_CLASSES:
        what = f"{class_map.dtype} {class_map.shape}" + (f" up to {class_map.max()}" if class_map.size else "")
        raise ValueError(f"a class map with a palette must be (H, W) unsigned with values below 256, got {what}")
    image = Image.fromarray(class_map.astype(np.uint8)).convert("L")
    image.putpalette(colors().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def decode_palette_png(data: bytes) -> ByteArray:
    """Read the stored values ``(H, W)`` uint8 of a PNG with a palette, or of a grey one, of up to 8 bits.

    Raises ImageDecodeError where the bytes are no such file; a palette's colours never matter.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in ("P", "L", "1"):
                raise ImageDecodeError(f"a class map must be a PNG with a palette or grey of 8 bits, got {image.mode}")
            return stored_values(image, data).astype(np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageDecodeError(f"a class map must be one whole PNG: {error}") from error


def stored_values(image: Image.Image, data: bytes) -> AnyArray:
    """The values ``(H, W)`` of the PNG ``data``, opened as ``image``; Pillow stretches grey of 2 and 4 bits."""
    values = np.array(image)
    return values // (255 // (2 ** data[_BIT_DEPTH_AT] - 1)) if image.mode == "L" else values
