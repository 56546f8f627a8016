"""Reads the bytes of an image file, however large or endless it is."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.errors import ImageTooLargeError
from pipelines.image import ImageLimits


def read_image_file(path: bytes | Path, *, limit: int = ImageLimits().max_bytes) -> bytes:
    """A file's bytes; of one that is too large, or has no end, no more than it takes to know that.

    Raises OSError, and ImageTooLargeError where there are more than ``limit`` bytes.
    """
    with open(path, "rb") as file:  # noqa: PTH123, a name may be bytes
        # Asked for the limit at once, Python would hold that much for each file, however small.
        size = min(os.fstat(file.fileno()).st_size, limit)
        data = file.read(size + 1)
        if len(data) > size:  # it grew, or a pipe or a device has no size
            data += file.read(limit + 1 - len(data))
    if len(data) > limit:
        raise ImageTooLargeError(f"image has more than {limit:,} bytes, the limit")
    return data
