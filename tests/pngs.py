"""PNG files put together chunk by chunk, for what no library writes."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from pipelines.types import ByteArray


def few_bits_png(values: ByteArray, *, bits: int, palette: bool = False) -> bytes:
    """A PNG that stores ``(H, W)`` values below ``2**bits`` in ``bits`` each, as grey or as indices of a palette."""
    height, width = values.shape
    digits = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :]  # (H, W, bits)
    lines = np.packbits(digits.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, 3 if palette else 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    colors = _chunk(b"PLTE", bytes(3 * 2**bits)) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + colors + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
