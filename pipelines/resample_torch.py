"""torch's bilinear resize of tensors, with and without antialiasing, bit for bit on uint8 and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray

_BLOCK = 16  # target lines made by one product: its source lines stay in the cache.
_WEIGHT_BITS = 15  # torch keeps integer weights below 2**15 ...
_MAX_PRECISION = 22  # ... and at most 22 bits behind the point.


@dataclass(frozen=True, eq=False)
class _Taps:
    """The source pixels that make each of ``T`` target pixels along one axis.

    Attributes:
        first: ``(T,)`` index of the first source pixel.
        last: ``(T,)`` one past the last.
        weights: ``(T, K)`` float64, zero behind ``last``; each row sums to 1.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    weights: NDArray[np.float64]


def resize_like_torch(image: AnyArray, size_hw: tuple[int, int], *, antialias: bool) -> AnyArray:
    """``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``, so torchvision's resize of tensors.

    Without ``antialias`` two neighbours are mixed, however much the image shrinks; with it the triangle is widened by
    the shrinking factor. The width is resized first, then the height. On uint8 weights are integers and each of the two
    passes is rounded, as torch does where its CPU has AVX2: equal to the bit there. Elsewhere torch computes in
    float32 and rounds once, which is at most 1 level away. On float32 torch computes positions in float32 too, ours are
    exact: results differ by about the rounding of a position (``side * 2**-24`` pixels) times the contrast.

    Args:
        image: uint8 or float32 ``(h, w)``, ``(h, w, 1)`` or ``(h, w, 3)``.
        size_hw: of the result.
        antialias: count every source pixel when the image shrinks.

    Returns:
        A new array of ``image``'s dtype and number of dimensions.
    """
    height, width = size_hw
    made = image
    if width != image.shape[1]:
        made = _transposed(_resize_lines(_transposed(made), width, antialias=antialias))
    if height != image.shape[0]:
        made = _resize_lines(made, height, antialias=antialias)
    return (made.copy() if made is image else made).reshape(*size_hw, *image.shape[2:])


def _transposed(image: AnyArray) -> AnyArray:
    return cv2.transpose(np.ascontiguousarray(image))  # drops a last axis of length 1


def _resize_lines(image: AnyArray, count: int, *, antialias: bool) -> AnyArray:
    """Resize along the first axis."""
    taps = _taps(len(image), count, antialias=antialias)
    made = np.empty((count, *image.shape[1:]), image.dtype)
    mix = _mix_integers if image.dtype == np.uint8 else _mix_floats
    mix(image.reshape(len(image), -1), taps, made.reshape(count, -1))
    return made


def _taps(source: int, target: int, *, antialias: bool) -> _Taps:
    """Weights of the triangle around each target pixel's centre, cut at the image's edges and made to sum to 1."""
    scale = source / target
    reach = max(scale, 1.0) if antialias else 1.0
    centers = scale * (np.arange(target) + 0.5)
    first = np.maximum(centers - reach + 0.5, 0).astype(np.int64)
    last = np.minimum(centers + reach + 0.5, source).astype(np.int64)
    at = first[:, None] + np.arange(int((last - first).max()))  # (T, K)
    weights = np.maximum(1 - np.abs((at - centers[:, None] + 0.5) * (1 / reach)), 0)
    weights[at >= last[:, None]] = 0
    return _Taps(first, last, weights / weights.sum(axis=1, keepdims=True))


def _mix_floats(lines: AnyArray, taps: _Taps, made: AnyArray) -> None:
    for targets, sources, band in _bands(taps, np.float32):
        np.matmul(band, lines[sources], out=made[targets])


def _mix_integers(lines: AnyArray, taps: _Taps, made: AnyArray) -> None:
    """Mix uint8 lines with weights of as many bits as fit: ``(sum + half) >> precision``.

    Sums of products are whole numbers that the float type holds exactly, in whatever order they are added.
    """
    precision = _precision(float(taps.weights.max()))
    whole = _Taps(taps.first, taps.last, np.floor(taps.weights * 2.0**precision + 0.5))
    exact = np.float32 if 256 * 2**precision <= 2**24 else np.float64  # their significands have 24 and 53 bits
    bands = _bands(whole, exact)
    # Two buffers for all bands: fresh ones of this size would cost more than the arithmetic, in page faults.
    pixels = np.empty((max(band.shape[1] for _, _, band in bands), lines.shape[1]), exact)
    sums = np.empty((_BLOCK, lines.shape[1]), exact)
    for targets, sources, band in bands:
        source, mixed = pixels[: band.shape[1]], sums[: len(band)]
        np.copyto(source, lines[sources])
        np.matmul(band, source, out=mixed)
        mixed *= 2.0**-precision
        mixed += 0.5
        # Never above 255.99: rounding K weights adds up to 255 * K / 2 / 2**precision, and 2**precision > 510 * K.
        np.copyto(made[targets], mixed, casting="unsafe")


def _precision(largest: float) -> int:
    for precision in range(_MAX_PRECISION):
        if int(0.5 + largest * 2 ** (precision + 1)) >= 2**_WEIGHT_BITS:
            return precision
    return _MAX_PRECISION


def _bands(taps: _Taps, dtype: Any) -> list[tuple[slice, slice, AnyArray]]:
    """The taps as products: which target lines, which source lines, and the matrix ``(targets, sources)`` between."""
    bands = []
    for start in range(0, len(taps.first), _BLOCK):
        first, last = taps.first[start : start + _BLOCK], taps.last[start : start + _BLOCK]
        sources = slice(int(first[0]), int(last[-1]))
        weights = taps.weights[start : start + _BLOCK]
        # Zeros behind a row's last tap may reach over the last source line: they land in columns that are cut off.
        band = np.zeros((len(first), sources.stop - sources.start + weights.shape[1]), dtype)
        columns = (first - sources.start)[:, None] + np.arange(weights.shape[1])  # (targets, K)
        np.put_along_axis(band, columns, weights.astype(dtype), axis=1)
        bands.append((slice(start, start + len(first)), sources, band[:, : sources.stop - sources.start]))
    return bands
