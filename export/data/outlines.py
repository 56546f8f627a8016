"""COCO's outlines of an object: polygons, or run lengths, plain or as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from export.data.dataset import IGNORED
from pipelines import rle
from pipelines.types import AnyArray, BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Outline:
    """The pixels of an object, one of two.

    Attributes:
        polygons: of ``(P, 2)`` float32 points x, y each, or ``None``.
        runs: lengths as ``pipelines.rle`` has them, over the whole image, or ``None``.
        size_hw: of the image.
    """

    polygons: tuple[FloatArray, ...] | None
    runs: AnyArray | None
    size_hw: tuple[int, int]

    def mask(self) -> BoolArray:
        """``(H, W)`` bool; a polygon covers the pixels whose centres it holds, and those that its edge touches."""
        if self.runs is not None:
            return rle.decode(self.runs, self.size_hw)
        drawn = np.zeros(self.size_hw, np.uint8)
        for polygon in self.polygons or ():
            # 0.5: a pixel's centre is at half a pixel in COCO and at a whole number in OpenCV; 16: four bits below it.
            points = np.rint((polygon - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(drawn, [points], 1, lineType=cv2.LINE_8, shift=4)
        return drawn.astype(np.bool_)


def read_outline(value: Any, size_hw: tuple[int, int]) -> Outline:
    """Read an annotation's ``segmentation``; raises ValueError where it is neither polygons nor run lengths."""
    if isinstance(value, list) and value:
        return Outline(tuple(_polygon(points) for points in value), None, size_hw)
    if not isinstance(value, dict) or "counts" not in value:
        raise ValueError(f"segmentation must be polygons or run lengths, got {value!r:.60}")
    if value.get("size") != list(size_hw):
        raise ValueError(f"segmentation must have its image's size {list(size_hw)}, got {value.get('size')!r:.60}")
    counts = value["counts"]
    try:
        runs = rle.decompress(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
        rle.decode(runs, size_hw)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"run lengths must be whole numbers, got {counts!r:.60}") from error
    return Outline(None, runs, size_hw)


def _polygon(points: Any) -> FloatArray:
    numbers = isinstance(points, list) and all(type(value) in (int, float) for value in points)
    if not numbers or len(points) < 6 or len(points) % 2:
        raise ValueError(f"a polygon must be 3 or more points x, y in a row, got {points!r:.60}")
    polygon = np.array(points, np.float32).reshape(-1, 2)
    if not np.isfinite(polygon).all() or np.abs(polygon).max() > 1e6:
        raise ValueError("a polygon must have finite points below a million pixels")
    return polygon


def outline_area(outline: Outline) -> float:
    """Pixels inside."""
    return float(outline.mask().sum())


def outline_bounds(outline: Outline | None) -> tuple[float, float, float, float]:
    """The box around an outline, xyxy; raises ValueError where there is none."""
    if outline is not None and outline.polygons is not None:
        points = np.concatenate(outline.polygons)
        return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    ys, xs = np.nonzero(outline.mask()) if outline is not None else ((), ())
    if len(ys) == 0:
        raise ValueError("an object must have a bbox, or an outline with a pixel in it")
    return float(min(xs)), float(min(ys)), float(max(xs)) + 1, float(max(ys)) + 1


def paint(parts: Sequence[tuple[Outline, int, bool]], size_hw: tuple[int, int]) -> AnyArray:
    """Paint outlines with their class ids into ``(H, W)`` uint8, the largest first; crowds are ``IGNORED``."""
    painted = np.zeros(size_hw, np.uint8)
    masks = [(outline.mask(), class_id, crowd) for outline, class_id, crowd in parts]
    for mask, class_id, crowd in sorted(masks, key=lambda part: (not part[2], -int(part[0].sum()))):
        painted[mask] = IGNORED if crowd else class_id
    return painted
