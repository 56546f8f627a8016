"""From the bytes of an image file to RGB pixels, by one stated policy."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
from PIL import BmpImagePlugin, Image, TiffImagePlugin

from pipelines.errors import ImageDecodeError, ImageTooLargeError
from pipelines.image_header import ImageHeader, read_header
from pipelines.tiff import pixels_only
from pipelines.types import AnyArray, ByteArray

Exif = Literal["apply", "ignore"]
Alpha = Literal["white", "black", "drop"]

AS_STORED = cv2.IMREAD_UNCHANGED  # depth and alpha kept, orientation not applied
AS_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

ORIENT: Mapping[int, Callable[[ByteArray], AnyArray]] = MappingProxyType(
    {
        1: lambda image: image,
        2: lambda image: cv2.flip(image, 1),
        3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
        4: lambda image: cv2.flip(image, 0),
        5: cv2.transpose,
        6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
        7: lambda image: cv2.transpose(cv2.rotate(image, cv2.ROTATE_180)),
        8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
)
PILLOW_MODES: Mapping[str, str] = MappingProxyType(
    {"1": "RGB", "L": "RGB", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "CMYK": "RGB"}
    | {"LA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
)


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """The largest image that is decoded.

    Attributes:
        max_bytes: of the file.
        max_pixels: width times height.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 100_000_000


def decode_image(data: bytes, *, exif: Exif, alpha: Alpha, limits: ImageLimits = ImageLimits()) -> ByteArray:
    """Decode one image file, by this policy. Thread-safe.

    - Formats are JPEG, PNG, WebP, BMP and TIFF, told by signature: one frame, whole, with nothing of another kind
      behind it (``image_header.read_header`` says what exactly).
    - OpenCV decodes JPEG of one or three components, PNG and WebP; Pillow JPEG of four components, BMP and TIFF, with
      which OpenCV takes less care. The choice depends on nothing but the file.
    - Orientation (EXIF in JPEG, PNG ``eXIf``, WebP, TIFF) is as asked; damaged EXIF counts as none.
    - Transparency (alpha channel, palette, PNG colour key) is laid over white or black, or dropped.
    - 16-bit samples keep their upper byte (``value >> 8``), 1-bit becomes 0 and 255, grey becomes three equal channels;
      floating point and signed samples are refused.
    - Inks become red ``(255 - C) * (255 - K) / 255`` and so on; a JPEG with Adobe's marker stores them inverted.
    - ICC profiles and gamma are not used: training sets are read so.

    JPEG has no checksum: damage in its coded data that leaves the structure whole cannot be seen.

    Args:
        data: the whole file.
        exif: ``apply`` the orientation or ``ignore`` it.
        alpha: what transparent pixels are laid over, or ``drop`` to keep their stored colour.
        limits: of bytes and pixels; both are checked before any pixel is decoded.

    Returns:
        ``(H, W, 3)`` uint8 RGB, contiguous.

    Raises:
        ImageTooLargeError: more bytes or pixels than ``limits``.
        ImageDecodeError: not one whole image of an allowed format.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"image has {len(data):,} bytes, the limit is {limits.max_bytes:,}")
    if not data:
        raise ImageDecodeError("image must not be empty, got 0 bytes")
    header = read_header(data)
    height, width = header.size_hw
    if height * width > limits.max_pixels:
        raise ImageTooLargeError(
            f"image has {height:,} x {width:,} = {height * width:,} pixels, the limit is {limits.max_pixels:,}"
        )
    try:
        stored = _decode(data, header)
    except (MemoryError, ImageDecodeError):
        raise
    except Exception as error:  # the decoders raise half a dozen types for damaged files
        raise ImageDecodeError(f"{header.format} must be undamaged, its decoder says: {error}") from error
    if stored.shape[:2] != header.size_hw:
        raise ImageDecodeError(f"{header.format} must have the size of its header {header.size_hw}, got {stored.shape}")
    rgb = _opaque(stored, alpha)
    return np.ascontiguousarray(ORIENT[header.orientation](rgb) if exif == "apply" else rgb)


def _decode(data: bytes, header: ImageHeader) -> AnyArray:
    """Decode to ``(H, W, 3 or 4)`` uint8 RGB or RGBA, orientation as stored."""
    height, width = header.size_hw
    if header.format == "JPEG" and header.inks == "none":
        return _opencv(data, AS_RGB, header)
    if header.format in ("PNG", "WebP"):
        return _rgb_or_rgba(_opencv(data, AS_STORED, header), header.clear_gray)
    if header.format == "JPEG":
        inks = "CMYK;I" if header.inks == "inverted" else "CMYK"
        image = Image.frombytes("CMYK", (width, height), data, "jpeg", inks, "")
    elif header.format == "BMP":
        image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    else:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(pixels_only(data)))
    return _pillow(image, header)


def _opencv(data: bytes, flags: int, header: ImageHeader) -> AnyArray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ImageDecodeError(f"{header.format} must be undamaged, its decoder gave no pixels")
    return pixels


def _rgb_or_rgba(stored: AnyArray, clear_gray: int | None) -> AnyArray:
    """OpenCV's grey, BGR or BGRA of 8 or 16 bits as RGB or RGBA of 8 bits."""
    pixels = (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored
    if pixels.ndim == 2:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
        if clear_gray is None:
            return rgb
        opacity = np.where(stored == clear_gray, 0, 255).astype(np.uint8)
        return np.dstack((rgb, opacity))
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _pillow(image: Image.Image, header: ImageHeader) -> AnyArray:
    """Pillow's image as RGB or RGBA of 8 bits; its size is checked before its pixels are decoded."""
    if image.size != header.size_hw[::-1]:
        raise ImageDecodeError(f"{header.format} must have one size, got {image.size[::-1]} and {header.size_hw}")
    if image.mode.startswith("I;16"):
        levels = (np.asarray(image) >> 8).astype(np.uint8)
        return cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB)
    if image.mode not in PILLOW_MODES:
        raise ImageDecodeError(f"{header.format} must hold 1 to 16-bit unsigned colours, got Pillow mode {image.mode}")
    return np.array(image.convert(PILLOW_MODES[image.mode]))


def _opaque(pixels: AnyArray, alpha: Alpha) -> ByteArray:
    """Lay ``(H, W, 4)`` over a colour or drop its alpha; ``(H, W, 3)`` passes."""
    if pixels.shape[2] == 3 or alpha == "drop":
        return pixels[..., :3]
    opacity = pixels[..., 3].astype(np.uint16)
    ground = (255 if alpha == "white" else 0) * (255 - opacity) + 127  # 127: divided to the nearest
    blended = np.empty((*opacity.shape, 3), np.uint8)
    for channel in range(3):
        blended[..., channel] = (pixels[..., channel] * opacity + ground) // 255  # at most 65,152: fits uint16
    return blended
