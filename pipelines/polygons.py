"""Masks as outlines with holes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, FloatArray


@dataclass(frozen=True, eq=False)
class Polygon:
    """A region with holes, in continuous pixels: the pixel in column x and row y reaches from x, y to x + 1, y + 1.

    Attributes:
        outer: ``(P, 2)`` float32 x, y of the outline, ``P`` at least 3, not closed by repeating its first point.
        holes: outlines ``(P, 2)`` float32 of what is cut out, as ``outer``.
    """

    outer: FloatArray
    holes: tuple[FloatArray, ...] = ()

    def __post_init__(self) -> None:
        for ring in (self.outer, *self.holes):
            if ring.dtype != np.float32 or ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
                raise ValueError(f"a ring must be float32 (3 or more, 2), got {ring.dtype} {ring.shape}")
            if not np.isfinite(ring).all():
                raise ValueError("a ring must be finite, got NaN or infinity")

    @property
    def area(self) -> float:
        """Square pixels inside the outline less those of the holes; rings that cross themselves have no exact one."""
        return ring_area(self.outer) - sum(map(ring_area, self.holes))


def ring_area(ring: FloatArray) -> float:
    """Square pixels inside a ring ``(P, 2)``, by the shoelace formula in float64."""
    x, y = ring.astype(np.float64).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def to_polygons(mask: AnyArray, *, tolerance_px: float) -> tuple[Polygon, ...]:
    """Outline the regions of a mask; pixels that touch at a corner are one region.

    With tolerance 0 outlines run along the pixels' edges: their area is the number of pixels, and :func:`to_mask` gives
    the mask back to the bit. With a larger one points are left out (Ramer, Douglas and Peucker) while every point of
    the exact outline stays within ``tolerance_px`` of the simple one, so that its area changes by at most
    ``tolerance_px`` times its length. A ring that would shrink to fewer than 3 points stays exact.

    Args:
        mask: ``(H, W)`` bool or integer; a pixel is inside where it is not 0.
        tolerance_px: 0 or more.

    Returns:
        One polygon a region, in no promised order.

    Raises:
        ValueError: the tolerance is below 0, or no number.
    """
    if not 0 <= tolerance_px < np.inf:
        raise ValueError(f"tolerance_px must be 0 or more, got {tolerance_px}")
    # Of each pixel made four, OpenCV's contours run through centres next to the edges; (c + 1) // 2 is the edge.
    doubled = (mask != 0).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    if not doubled.any():
        return ()
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_simplified(_corners((contour[:, 0] + 1) // 2), tolerance_px) for contour in contours]
    parents = tree[0, :, 3].tolist()  # the outline that a hole is cut out of, or -1
    holes: dict[int, list[FloatArray]] = {}
    for ring, parent in zip(rings, parents, strict=True):
        holes.setdefault(parent, []).append(ring)
    return tuple(
        Polygon(ring, tuple(holes.get(i, ())))
        for i, (ring, parent) in enumerate(zip(rings, parents, strict=True))
        if parent == -1
    )


def to_mask(polygons: Sequence[Polygon], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill polygons: ``(H, W)`` bool, a pixel is inside where its centre is inside any of them.

    A centre is inside a polygon where a line to the left crosses its rings an odd number of times; on an edge, it
    belongs to what lies to its right and below.
    """
    mask = np.zeros(hw, np.bool_)
    for polygon in polygons:
        rings = [ring.astype(np.float64) for ring in (polygon.outer, *polygon.holes)]
        points = np.concatenate(rings)
        # Beyond the bounds of its points nothing is filled: many small regions of a large image cost little.
        left, top = np.clip(np.floor(points.min(axis=0)), 0, hw[::-1]).astype(np.int64).tolist()
        right, bottom = np.clip(np.ceil(points.max(axis=0)), (left, top), hw[::-1]).astype(np.int64).tolist()
        mask[top:bottom, left:right] |= _filled([ring - (left, top) for ring in rings], (bottom - top, right - left))
    return mask


def _filled(rings: Sequence[NDArray[np.float64]], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd fill: every crossing of an edge with the centre line of a row turns all pixels to its right."""
    height, width = hw
    start = np.concatenate(rings)
    stop = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    downwards = (start[:, 1] <= stop[:, 1])[:, None]
    upper, lower = np.where(downwards, start, stop), np.where(downwards, stop, start)  # (E, 2)
    # Rows whose centre line y + 0.5 lies in [upper, lower): each edge crosses these and no others.
    first, last = np.clip(np.ceil(np.stack((upper[:, 1], lower[:, 1])) - 0.5), 0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(first)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    slope = (lower - upper)[edge]
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[:, 0] / slope[:, 1]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    turns = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(turns, axis=1)[:, :width] % 2 == 1


def _corners(path: NDArray[np.int32]) -> FloatArray:
    """The points of a closed path of single steps at which it turns."""
    moved = path[np.any(path != np.roll(path, 1, axis=0), axis=1)]
    before, behind = moved - np.roll(moved, 1, axis=0), np.roll(moved, -1, axis=0) - moved
    return moved[np.any(before != behind, axis=1)].astype(np.float32)


def _simplified(ring: FloatArray, tolerance_px: float) -> FloatArray:
    if tolerance_px == 0:
        return ring
    simple: AnyArray = cv2.approxPolyDP(ring, tolerance_px, closed=True)[:, 0]
    return simple if len(simple) >= 3 else ring
