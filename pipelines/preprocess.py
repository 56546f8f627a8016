"""From an RGB image to the model's row, and the Affine that leads back."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.geometry import Affine, place
from pipelines.resample import resize
from pipelines.specs import ImageSpec, Letterbox, Pad
from pipelines.types import AnyArray, ByteArray


def row_shape(spec: ImageSpec, src_hw: tuple[int, int]) -> tuple[int, int, int]:
    """Shape of the row of an image of ``src_hw``: ``(c, h, w)`` or ``(h, w, c)`` by ``spec.layout``.

    Raises:
        ImageTooLargeError: as ``geometry.place``.
    """
    height, width = place(spec.fit, src_hw).dst_hw
    return _row_shape(spec, (height, width))


def fit_pixels(image: ByteArray, spec: ImageSpec) -> tuple[ByteArray, Affine]:
    """Bring an image to the row's size and colours, before any arithmetic.

    Colours are converted before the resize, as systems do that read their images in BGR or grey; grey is OpenCV's
    ``RGB2GRAY`` (0.299, 0.587, 0.114). For BGR the order makes no difference.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, EXIF orientation already settled.
        spec: says how.

    Returns:
        ``(h, w, c)`` uint8 in the graph's colour order (perhaps a view, not contiguous), and its placement.

    Raises:
        ValueError: ``image`` is not ``(H, W, 3)`` uint8.
        ImageTooLargeError: as ``geometry.place``.
    """
    affine = _placed(image, spec)
    return _fit(image, spec, affine, None), affine


def normalize(pixels: ByteArray, spec: ImageSpec, out: AnyArray | None = None) -> AnyArray:
    """Turn fitted pixels into a row: ``(pixels / scale - mean) / std``, then layout and dtype.

    Each of the 256 levels of a channel is computed once, in float64, and rounded once to the row's dtype. With scale
    ``image_max`` the divisor is the largest of ``pixels``, padding included, or 1 for an all-black row.

    Args:
        pixels: ``(h, w, c)`` uint8 in the graph's colour order.
        spec: says how; with ``normalize`` in the graph only the layout changes.
        out: contiguous row to write into.

    Returns:
        ``out`` or a new row, ``(c, h, w)`` or ``(h, w, c)``.

    Raises:
        ValueError: ``pixels`` or ``out`` has another shape or dtype.
    """
    channels = _channels(spec)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != channels or pixels.size == 0:
        raise ValueError(f"pixels must be uint8 (h, w, {channels}), got {pixels.dtype} {pixels.shape}")
    row = _writable_row(spec, _row_shape(spec, pixels.shape[:2]), out)
    if spec.dtype == "uint8":
        _copy_levels(pixels, row, spec.layout)
    else:
        _look_up(pixels, _level_table(spec, pixels), row, spec.layout)
    return row


def preprocess(image: ByteArray, spec: ImageSpec, out: AnyArray | None = None) -> tuple[AnyArray, Affine]:
    """Do ``fit_pixels`` and ``normalize`` in one, with no copy more than needed.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        spec: says how.
        out: contiguous row of ``row_shape`` and ``spec.dtype`` to write into, such as a slot of a batch.

    Returns:
        ``out`` or a new row, equal to the bit in both cases; and the placement.

    Raises:
        ValueError: ``image`` is not ``(H, W, 3)`` uint8, or ``out`` has another shape or dtype.
        ImageTooLargeError: as ``geometry.place``.
    """
    affine = _placed(image, spec)
    row = _writable_row(spec, _row_shape(spec, affine.dst_hw), out)
    channels = _channels(spec)
    if spec.dtype == "uint8" and (spec.layout == "hwc" or channels == 1):
        _fit(image, spec, affine, row.reshape(*affine.dst_hw, channels))  # the row is the pixels: resized into place
    else:
        normalize(_fit(image, spec, affine, None), spec, out=row)
    return row, affine


def _channels(spec: ImageSpec) -> int:
    return 1 if spec.color == "gray" else 3


def _row_shape(spec: ImageSpec, row_hw: tuple[int, ...]) -> tuple[int, int, int]:
    height, width = row_hw
    channels = _channels(spec)
    return (channels, height, width) if spec.layout == "chw" else (height, width, channels)


def _writable_row(spec: ImageSpec, shape: tuple[int, int, int], out: AnyArray | None) -> AnyArray:
    if out is None:
        return np.empty(shape, spec.dtype)
    if out.shape != shape or out.dtype != spec.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"out must be contiguous {spec.dtype} {shape}, "
            f"got {'' if out.flags.c_contiguous else 'not contiguous '}{out.dtype} {out.shape}"
        )
    return out


def _placed(image: ByteArray, spec: ImageSpec) -> Affine:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    return place(spec.fit, (image.shape[0], image.shape[1]))


def _fit(image: ByteArray, spec: ImageSpec, affine: Affine, out: ByteArray | None) -> ByteArray:
    """Write the row's pixels ``(h, w, c)`` into ``out`` or a new array."""
    source = _in_color(image, spec)
    height, width = affine.resized_hw
    top, left = affine.corner_yx
    if (height, width) == affine.dst_hw:
        return resize(source, affine.dst_hw, spec.resample, out)
    if isinstance(spec.fit, Letterbox | Pad):
        pixels = np.empty((*affine.dst_hw, source.shape[2]), np.uint8) if out is None else out
        inner = pixels[top : top + height, left : left + width]
        pixels[:top] = pixels[top + height :] = spec.fit.pad_value
        pixels[top : top + height, :left] = pixels[top : top + height, left + width :] = spec.fit.pad_value
        resize(source, (height, width), spec.resample, inner)
        return pixels
    resized = resize(source, (height, width), spec.resample)
    cut = resized[-top : affine.dst_hw[0] - top, -left : affine.dst_hw[1] - left]
    if out is None:
        return cut
    out[...] = cut
    return out


def _in_color(image: ByteArray, spec: ImageSpec) -> AnyArray:
    if spec.color == "rgb":
        return image
    if spec.color == "bgr":
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _level_table(spec: ImageSpec, pixels: ByteArray) -> AnyArray:
    """Row value of each level, ``(256, c)`` in the row's dtype."""
    scale = max(int(pixels.max()), 1) if spec.scale == "image_max" else spec.scale
    levels = np.arange(256, dtype=np.float64)[:, None]
    return ((levels / scale - spec.mean) / spec.std).astype(spec.dtype)  # (256, c)


def _look_up(pixels: ByteArray, table: AnyArray, row: AnyArray, layout: str) -> None:
    """Write ``table[pixels]`` into a contiguous row, plane by plane where the layout is planar."""
    if table.dtype == np.float16:  # OpenCV's LUT moves 16-bit values, but knows them only as integers
        table, row = table.view(np.int16), row.view(np.int16)
    if layout == "hwc":
        cv2.LUT(pixels, table[:, None, :], dst=row)
        return
    for channel, plane in enumerate(row):
        cv2.LUT(cv2.extractChannel(pixels, channel), np.ascontiguousarray(table[:, channel]), dst=plane)


def _copy_levels(pixels: ByteArray, row: AnyArray, layout: str) -> None:
    if layout == "hwc":
        row[...] = pixels
        return
    for channel, plane in enumerate(row):
        cv2.extractChannel(pixels, channel, dst=plane)
