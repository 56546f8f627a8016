"""From an RGB image to the model's row, and the Affine that leads back."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np

from pipelines.geometry import Affine, place
from pipelines.resample import resize
from pipelines.specs import CenterCrop, ImageSpec, Letterbox, Pad, Stretch
from pipelines.types import AnyArray, ByteArray

Window: TypeAlias = tuple[slice, slice]
WHOLE: Window = (slice(0, None), slice(0, None))


def row_shape(spec: ImageSpec, src_hw: tuple[int, int]) -> tuple[int, int, int]:
    """Shape of the row of an image of ``src_hw``: ``(c, h, w)`` or ``(h, w, c)`` by ``spec.layout``.

    Raises:
        ImageTooLargeError: as ``geometry.place``.
    """
    height, width = place(spec.fit, src_hw).dst_hw
    return _row_shape(spec, (height, width))


def fixed_row_shape(spec: ImageSpec) -> tuple[int, int, int] | None:
    """Shape of every image's row, as ``row_shape`` gives it; ``None`` where it depends on the image."""
    return _row_shape(spec, spec.fit.size_hw) if isinstance(spec.fit, Stretch | Letterbox | CenterCrop) else None


def fit_pixels(image: ByteArray, spec: ImageSpec) -> tuple[ByteArray, Affine]:
    """Bring an image to the row's size and colours, before any arithmetic.

    Colours are converted before the resize, as systems do that read their images in BGR or grey; grey is OpenCV's
    ``RGB2GRAY`` (0.299, 0.587, 0.114). For BGR the order makes no difference.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, EXIF orientation already settled.
        spec: says how.

    Returns:
        ``(h, w, c)`` uint8 in the graph's colour order, and its placement.

    Raises:
        ValueError: ``image`` is not ``(H, W, 3)`` uint8.
        ImageTooLargeError: as ``geometry.place``.
    """
    affine = _placed(image, spec)
    pixels = np.empty((*affine.dst_hw, _channels(spec)), np.uint8)
    _fit(image, spec, affine, pixels)
    return pixels, affine


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
    _write(pixels, spec, row, WHOLE)
    return row


def preprocess(image: ByteArray, spec: ImageSpec, out: AnyArray | None = None) -> tuple[AnyArray, Affine]:
    """Do ``fit_pixels`` and ``normalize`` in one: arithmetic on the pixels shown alone, the padding is a constant.

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
        _write(_shown(image, spec, affine), spec, row, _window(affine))
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


def _fit(image: ByteArray, spec: ImageSpec, affine: Affine, pixels: ByteArray) -> None:
    """Fill the row's pixels ``(h, w, c)``: resized into their place, padding around them."""
    window = _window(affine)
    _fill_around(pixels, window, _pad_value(spec))
    _shown(image, spec, affine, pixels[window])


def _shown(image: ByteArray, spec: ImageSpec, affine: Affine, out: ByteArray | None = None) -> AnyArray:
    """The part of the resized image that the row shows, in the graph's colours, into ``out`` where it is given."""
    source = _in_color(image, spec)
    top, left = affine.corner_yx
    if min(top, left) >= 0:
        return resize(source, affine.resized_hw, spec.resample, out)
    height, width = affine.dst_hw
    cut = resize(source, affine.resized_hw, spec.resample)[-top : height - top, -left : width - left]
    if out is None:
        return cut
    out[...] = cut
    return out


def _window(affine: Affine) -> Window:
    """Where the row shows the image; the rest is padding."""
    (top, left), (height, width) = affine.corner_yx, affine.resized_hw
    row_height, row_width = affine.dst_hw
    return slice(max(top, 0), min(top + height, row_height)), slice(max(left, 0), min(left + width, row_width))


def _pad_value(spec: ImageSpec) -> int:
    return spec.fit.pad_value if isinstance(spec.fit, Letterbox | Pad) else 0  # 0: the other fits pad nothing


def _fill_around(pixels: AnyArray, window: Window, value: AnyArray | int) -> None:
    """Set all of ``(h, w, c)`` but the window to a value, or to one for each channel."""
    rows, columns = window
    if rows.start > 0 or rows.stop < pixels.shape[0]:
        pixels[: rows.start] = value
        pixels[rows.stop :] = value
    if columns.start > 0 or columns.stop < pixels.shape[1]:
        pixels[rows, : columns.start] = value
        pixels[rows, columns.stop :] = value


def _in_color(image: ByteArray, spec: ImageSpec) -> AnyArray:
    if spec.color == "rgb":
        return image
    if spec.color == "bgr":
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _write(shown: AnyArray, spec: ImageSpec, row: AnyArray, window: Window) -> None:
    """Write the row values of ``shown`` into the window of a contiguous row, and those of the padding around it."""
    padded = shown.shape[0] * shown.shape[1] * shown.shape[2] < row.size
    if spec.scale == "image_max":
        scale: float = max(int(shown.max()), _pad_value(spec) if padded else 0, 1)
    else:
        scale = spec.scale
    tables = _level_tables(spec.dtype, scale, spec.mean, spec.std)  # (c, 256)
    if padded:
        pixels = row if spec.layout == "hwc" else row.transpose(1, 2, 0)
        _fill_around(pixels, window, tables[:, _pad_value(spec)])
    if tables.dtype == np.float16:  # OpenCV's LUT moves 16-bit values, but knows them only as integers
        tables, row = tables.view(np.int16), row.view(np.int16)
    if spec.layout == "hwc":
        cv2.LUT(shown, np.ascontiguousarray(tables.T)[:, None, :], dst=row[window])
        return
    planes = [plane[window] for plane in row]
    if tables.dtype == np.uint8:
        cv2.split(shown, planes)  # the levels are the values
        return
    levels = np.empty((len(planes), *shown.shape[:2]), np.uint8)
    cv2.split(shown, list(levels))  # one pass over the pixels, where taking out each channel would be three
    for plane, values, table in zip(planes, levels, tables, strict=True):
        cv2.LUT(values, table, dst=plane)


@lru_cache(maxsize=256)  # image_max asks for as many divisors as there are levels
def _level_tables(dtype: str, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> AnyArray:
    """Row value of each level of each channel, ``(c, 256)`` in the row's dtype, not to be written."""
    levels = np.arange(256, dtype=np.float64)
    if dtype == "uint8":
        tables = np.repeat(levels[None], len(mean), axis=0).astype(np.uint8)
    else:
        tables = ((levels / scale - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(dtype)
    tables.flags.writeable = False
    return tables
