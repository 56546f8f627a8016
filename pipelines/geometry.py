"""Where each fit puts an image in the model's row, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from pipelines.errors import ImageTooLargeError
from pipelines.specs import CenterCrop, Fit, Letterbox, NoFit, Pad, Stretch, StretchToMultiple
from pipelines.types import FloatArray

# Scaling the shorter side up makes a thin image huge: 10 x 100,000 with its shorter side at 256 is 655 million pixels
# (2 GB) on the way to a 224 x 224 row. 2**26 is a square of 8,192, more than any photo needs.
MAX_RESIZED_PIXELS = 2**26


@dataclass(frozen=True)
class Affine:
    """Scale, then shift: ``row = source * scale_xy + offset_xy`` in continuous pixels (edges at 0 and width).

    Attributes:
        src_hw: original image, after EXIF orientation.
        dst_hw: the model's row.
        scale_xy: row pixels per source pixel; exactly resized side / source side.
        offset_xy: where the source's top left corner lands in the row, a whole number; negative where it was cropped
            away.
    """

    src_hw: tuple[int, int]
    dst_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    @cached_property
    def resized_hw(self) -> tuple[int, int]:
        """Size of the whole source image in row pixels."""
        return round(self.src_hw[0] * self.scale_xy[1]), round(self.src_hw[1] * self.scale_xy[0])

    @cached_property
    def corner_yx(self) -> tuple[int, int]:
        """Row pixel of the resized image's top left corner; negative where it was cropped away."""
        return int(self.offset_xy[1]), int(self.offset_xy[0])

    def points_to_row(self, points: FloatArray) -> FloatArray:
        """Move ``(..., 2)`` x, y from the source into the row."""
        moved = points.astype(np.float64) * self.scale_xy + self.offset_xy
        return moved.astype(np.float32)

    def points_to_source(self, points: FloatArray) -> FloatArray:
        """Move ``(..., 2)`` x, y from the row into the source; not clipped."""
        moved = (points.astype(np.float64) - self.offset_xy) / self.scale_xy
        return moved.astype(np.float32)

    def boxes_to_row(self, boxes: FloatArray) -> FloatArray:
        """Move ``(N, 4)`` xyxy from the source into the row."""
        return self.points_to_row(boxes.reshape(-1, 2, 2)).reshape(-1, 4)

    def boxes_to_source(self, boxes: FloatArray) -> FloatArray:
        """Move ``(N, 4)`` xyxy from the row into the source; not clipped."""
        return self.points_to_source(boxes.reshape(-1, 2, 2)).reshape(-1, 4)


@lru_cache(maxsize=1024)  # asked for more than once a request, and cameras send one size for ever
def place(fit: Fit, src_hw: tuple[int, int]) -> Affine:
    """Say how ``fit`` puts an image of ``src_hw`` into a row, by arithmetic alone.

    No side ever becomes zero. Roundings are those of the systems that the fits come from; each helper states its own.

    Raises:
        ValueError: a side of ``src_hw`` is below 1.
        ImageTooLargeError: the resized image or the row would exceed ``MAX_RESIZED_PIXELS`` because of the image's
            shape. Sizes that the fit itself names are the operator's choice and are not limited here.
    """
    if min(src_hw) < 1:
        raise ValueError(f"image sides must be at least 1 pixel, got {src_hw[0]:,} x {src_hw[1]:,} (height x width)")
    match fit:
        case Stretch():
            return _affine(src_hw, fit.size_hw, fit.size_hw)
        case StretchToMultiple():
            return _stretch_to_multiple(fit, src_hw)
        case Letterbox():
            return _letterbox(fit, src_hw)
        case CenterCrop():
            return _center_crop(fit, src_hw)
        case Pad():
            return _pad(fit, src_hw)
        case NoFit():
            row_hw = _limited(src_hw, src_hw)
            return _affine(src_hw, row_hw, row_hw)


def _affine(
    src_hw: tuple[int, int], resized_hw: tuple[int, int], dst_hw: tuple[int, int], corner_yx: tuple[int, int] = (0, 0)
) -> Affine:
    return Affine(
        src_hw=src_hw,
        dst_hw=dst_hw,
        scale_xy=(resized_hw[1] / src_hw[1], resized_hw[0] / src_hw[0]),
        offset_xy=(float(corner_yx[1]), float(corner_yx[0])),
    )


def _limited(size_hw: tuple[int, int], src_hw: tuple[int, int]) -> tuple[int, int]:
    """Pass ``size_hw`` on where it is affordable."""
    pixels = size_hw[0] * size_hw[1]
    if pixels > MAX_RESIZED_PIXELS:
        raise ImageTooLargeError(
            f"an image of {src_hw[0]:,} x {src_hw[1]:,} (height x width) would be resized to "
            f"{size_hw[0]:,} x {size_hw[1]:,} = {pixels:,} pixels, the limit is {MAX_RESIZED_PIXELS:,}"
        )
    return size_hw


def _truncated(size_hw: tuple[int, int], ratio: float) -> tuple[int, int]:
    return max(1, int(size_hw[0] * ratio)), max(1, int(size_hw[1] * ratio))


def _rounded(size_hw: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Scale both sides, to the nearest whole number (halves to even)."""
    return max(1, round(size_hw[0] * ratio)), max(1, round(size_hw[1] * ratio))


def _ceil_to(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _stretch_to_multiple(fit: StretchToMultiple, src_hw: tuple[int, int]) -> Affine:
    """Scale into ``min_shorter .. max_longer`` (sides truncated), then round each side on its own.

    No side falls below one multiple. ``nearest`` rounds halves to even. ``side * ratio`` is truncated in floating
    point, as PP-OCR does it.
    """
    size_hw = src_hw
    if fit.min_shorter is not None and min(size_hw) < fit.min_shorter:
        size_hw = _truncated(size_hw, fit.min_shorter / min(size_hw))
    if fit.max_longer is not None and max(size_hw) > fit.max_longer:
        size_hw = _truncated(size_hw, fit.max_longer / max(size_hw))
    step = fit.multiple_of
    if fit.rounding == "ceil":
        row_hw = (_ceil_to(size_hw[0], step), _ceil_to(size_hw[1], step))
    else:
        row_hw = (max(step, round(size_hw[0] / step) * step), max(step, round(size_hw[1] / step) * step))
    row_hw = _limited(row_hw, src_hw)
    return _affine(src_hw, row_hw, row_hw)


def _letterbox(fit: Letterbox, src_hw: tuple[int, int]) -> Affine:
    """Scale by the smaller ratio, round the sides, then half of what is spare; ``Letterbox`` says how.

    ``floor`` of a side is ``int(side * ratio)`` in floating point, as YOLOX has it.
    """
    ratio = min(fit.size_hw[0] / src_hw[0], fit.size_hw[1] / src_hw[1])
    if ratio > 1 and not fit.scale_up:
        resized_hw = src_hw
    else:
        resized_hw = _rounded(src_hw, ratio) if fit.size_rounding == "nearest" else _truncated(src_hw, ratio)
    if fit.pad_rounding is None:
        return _affine(src_hw, resized_hw, fit.size_hw)
    top, left = (
        _half(row_side - side, fit.pad_rounding) for row_side, side in zip(fit.size_hw, resized_hw, strict=True)
    )
    return _affine(src_hw, resized_hw, fit.size_hw, (top, left))


def _half(spare: int, rounding: Literal["floor", "nearest"]) -> int:
    """Half of ``spare`` pixels: ``nearest`` takes halves to even."""
    return round(spare / 2) if rounding == "nearest" else spare // 2


def _center_crop(fit: CenterCrop, src_hw: tuple[int, int]) -> Affine:
    """Scale the shorter side to ``resize_shorter``; cut out of the middle.

    Longer side: ``floor`` is ``int(size * longer / shorter)`` as torchvision has it, ``nearest`` is
    ``round(longer * (size / shorter))`` as PaddleClas has it (halves to even). Corner: half of what is left over.
    """
    shorter, longer = min(src_hw), max(src_hw)
    if fit.size_rounding == "floor":
        new_longer = int(fit.resize_shorter * longer / shorter)
    else:
        new_longer = round(longer * (fit.resize_shorter / shorter))
    by_height = src_hw[0] <= src_hw[1]
    resized_hw = (fit.resize_shorter, new_longer) if by_height else (new_longer, fit.resize_shorter)
    resized_hw = _limited(resized_hw, src_hw)
    top, left = (
        _half(side - row_side, fit.offset_rounding) for side, row_side in zip(resized_hw, fit.size_hw, strict=True)
    )
    return _affine(src_hw, resized_hw, fit.size_hw, (-top, -left))


def _pad(fit: Pad, src_hw: tuple[int, int]) -> Affine:
    """Scale down to ``max_longer`` (sides to the nearest pixel), then pad right and bottom up to a multiple."""
    resized_hw = src_hw
    if fit.max_longer is not None and max(src_hw) > fit.max_longer:
        resized_hw = _rounded(src_hw, fit.max_longer / max(src_hw))
    row_hw = (_ceil_to(resized_hw[0], fit.multiple_of), _ceil_to(resized_hw[1], fit.multiple_of))
    return _affine(src_hw, resized_hw, _limited(row_hw, src_hw))
