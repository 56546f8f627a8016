"""Reading the class of every pixel from a PNG or TIFF file: stored values, never their colours."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from pipelines.errors import ImageDecodeError
from pipelines.image import ImageLimits
from pipelines.image_header import read_header
from pipelines.palette import stored_values
from pipelines.types import AnyArray

MaskValues: TypeAlias = Literal["classes", "foreground"]
_PLAIN_MODES = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I")


def read_class_map(path: Path, *, values: MaskValues) -> AnyArray:
    """Read a mask's stored values (palette indices, grey levels): ``(H, W)`` uint8 class ids.

    Args:
        path: a PNG or TIFF of one channel or with a palette, 1 to 16 bits.
        values: ``classes``: the value is the class id; ``foreground``: 1 where the value is above 0.

    Raises:
        OSError: the file cannot be read, or is damaged.
        ValueError: it is no mask: colours, a class above 255, too many pixels.
    """
    data = path.read_bytes()
    stored = _tiff(data) if data[:4] in (b"II*\0", b"MM\0*") else _png(data)
    if stored.ndim != 2 or stored.dtype.kind not in "bui":
        raise ValueError(f"a mask must be one channel of whole numbers, got {stored.dtype} {stored.shape}")
    if values == "foreground":
        return (stored != 0).astype(np.uint8)
    if stored.dtype == np.bool_:
        return stored.astype(np.uint8)
    if stored.size and (int(stored.max()) > 255 or int(stored.min()) < 0):
        raise ValueError(f"class ids must be between 0 and 255, got {stored.min()} to {stored.max()}")
    return stored.astype(np.uint8)


def _png(data: bytes) -> AnyArray:
    try:
        header = read_header(data)
    except ImageDecodeError as error:
        raise ValueError(f"a mask must be a PNG or TIFF file: {error}") from error
    _check_size(header.size_hw)
    if header.format != "PNG":
        raise ValueError(f"a mask must be a PNG or TIFF file, got {header.format}, which changes values")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what read_header has judged
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in _PLAIN_MODES:
                raise ValueError(f"a mask must be one channel or have a palette, got Pillow mode {image.mode}")
            return stored_values(image, data)


def _tiff(data: bytes) -> AnyArray:
    """TIFF through tifffile: microscopes write compressions and 32-bit labels that Pillow does not read."""
    try:
        import tifffile
    except ImportError as error:
        raise ValueError("install 'ocella[data]' to read TIFF masks") from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages, shape = len(file.pages), file.pages[0].shape[:2]
            fits = pages == 1 and int(np.prod(shape)) <= ImageLimits().max_pixels
            stored = np.asarray(file.pages[0].asarray()) if fits else None
    except Exception as error:  # tifffile and its codecs raise many types for damaged files
        raise ValueError(f"TIFF must be undamaged, its decoder says: {error}") from error
    if pages != 1:
        raise ValueError(f"a mask must be one page, got {pages}")
    _check_size(shape)
    assert stored is not None
    return stored


def _check_size(size_hw: tuple[int, ...]) -> None:
    pixels, limit = int(np.prod(size_hw)), ImageLimits().max_pixels
    if pixels > limit:
        raise ValueError(f"a mask must have at most {limit:,} pixels, got {pixels:,}")
