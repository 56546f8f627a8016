"""Instance masks as weighted sums of prototype maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.activations import sigmoid
from pipelines.geometry import Affine
from pipelines.outputs import require_finite
from pipelines.types import BoolArray, FloatArray, pixel_windows

_STRIP_PIXELS = 2**18  # interpolated at once: a mask over a large photo costs 1 byte a pixel and 3 MB of floats.


def assemble_masks(
    coefficients: FloatArray, prototypes: FloatArray, boxes: FloatArray, affine: Affine, *, threshold: float
) -> tuple[BoolArray, ...]:
    """Join prototypes to one mask an object (YOLACT, arXiv:1904.02689, equation 1), in pixels of the original image.

    Probabilities are ``sigmoid(coefficients @ prototypes)`` in each cell. That of a pixel of the original is read where
    its centre lies in the row, bilinear between the centres of the four nearest cells (without antialias; beyond the
    outermost centres the nearest cell counts). A pixel belongs to the object at ``threshold`` or more. Only the pixels
    of the object's box, and the cells under it, are ever computed.

    Args:
        coefficients: ``(N, M)`` float32.
        prototypes: ``(M, mh, mw)`` float32 over the whole row.
        boxes: ``(N, 4)`` float32 xyxy, clipped to the original image.
        affine: where the original image lies in the row.
        threshold: 0 to 1.

    Returns:
        ``N`` masks ``(h, w)`` bool, each over the pixels of its box's :func:`pixel_windows`.

    Raises:
        ValueError: coefficients, prototypes and boxes do not belong together.
        ModelOutputError: a sum is beyond float32.
    """
    if coefficients.shape != (len(boxes), len(prototypes)):
        raise ValueError(
            f"coefficients must be one a box and prototype ({len(boxes)}, {len(prototypes)}), got {coefficients.shape}"
        )
    (scale_x, scale_y), (offset_x, offset_y) = affine.scale_xy, affine.offset_xy
    cells_y, cells_x = (cells / pixels for cells, pixels in zip(prototypes.shape[1:], affine.dst_hw, strict=True))
    masks = []
    for weights, (left, top, right, bottom) in zip(coefficients, pixel_windows(boxes).tolist(), strict=True):
        rows = _sample(top, bottom, scale_y * cells_y, offset_y * cells_y, prototypes.shape[1])
        columns = _sample(left, right, scale_x * cells_x, offset_x * cells_x, prototypes.shape[2])
        under = prototypes[:, rows.cells, columns.cells]
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused below.
            sums = np.tensordot(weights, under, axes=1)
        require_finite("sums of prototypes", sums)
        masks.append(_at_least(threshold, sigmoid(sums), rows, columns))
    return tuple(masks)


@dataclass(frozen=True, eq=False)
class _Samples:
    """Where ``n`` pixels of one axis lie between the cells of a map.

    Attributes:
        cells: the cells that they need.
        low: ``(n,)`` the cell before each pixel, counted from the first of ``cells``.
        high: ``(n,)`` the cell behind it; the same at the map's ends.
        part: ``(n,)`` float32 0..1, how far it lies from ``low`` to ``high``.
    """

    cells: slice
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    part: FloatArray


def _sample(first: int, end: int, scale: float, offset: float, count: int) -> _Samples:
    """Place pixels ``first..end`` of the original on a map of ``count`` cells: ``cell = pixel * scale + offset``."""
    at = np.clip((np.arange(first, end) + 0.5) * scale + offset - 0.5, 0, count - 1)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, count - 1)
    start, stop = (int(low[0]), int(high[-1]) + 1) if len(at) else (0, 1)
    return _Samples(slice(start, stop), low - start, high - start, (at - low).astype(np.float32))


def _at_least(threshold: float, probabilities: FloatArray, rows: _Samples, columns: _Samples) -> BoolArray:
    """Interpolate ``(mh, mw)`` probabilities of cells, and compare, a strip of pixels at a time."""
    left, right = probabilities[:, columns.low], probabilities[:, columns.high]
    across = left + (right - left) * columns.part
    mask = np.empty((len(rows.low), len(columns.low)), np.bool_)
    height = max(1, _STRIP_PIXELS // max(1, mask.shape[1]))
    for start in range(0, len(mask), height):
        strip = slice(start, start + height)
        above, below = across[rows.low[strip]], across[rows.high[strip]]
        mask[strip] = above + (below - above) * rows.part[strip, None] >= threshold
    return mask
