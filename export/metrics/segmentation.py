"""Metrics of segmentation: IoU, Dice and pixel accuracy from counted pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray


@dataclass(frozen=True, eq=False)
class SegmentationReport:
    """How the pixels of ``N`` images of ``C`` classes were named.

    Attributes:
        confusion: ``(C, C + 1)`` int64 pixels by true and answered class, of all images together; the last column
            counts answers that are none of the ``C``.
        image_iou: ``(N, C)`` float64 IoU of each class in each image; NaN where a class is in neither.
    """

    confusion: NDArray[np.int64]
    image_iou: NDArray[np.float64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """``(C,)`` intersection over union; NaN for a class that occurs in neither truth nor answers."""
        return iou_of(self.confusion)

    @property
    def dice(self) -> NDArray[np.float64]:
        """``(C,)`` twice the intersection over the sum of both; NaN as ``iou``."""
        hits, either = _hits_and_sums(self.confusion)
        return _ratio(2 * hits, either)

    @property
    def pixel_accuracy(self) -> float:
        """Part of the pixels that are named right."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))

    def headline(self) -> dict[str, float]:
        """The metrics by name; the means are over the classes that occur, ``foreground`` leaves out class 0.

        Those that no counted pixel tells of are left out.
        """
        if not self.confusion.any():
            return {}
        found = {
            "miou": float(np.nanmean(self.iou)),
            "dice": float(np.nanmean(self.dice)),
            "pixel_accuracy": self.pixel_accuracy,
        }
        if np.isfinite(self.iou[1:]).any():
            found["foreground_iou"] = float(np.nanmean(self.iou[1:]))
            found["foreground_dice"] = float(np.nanmean(self.dice[1:]))
        return found


def pixel_confusion(truth: AnyArray, answer: AnyArray, num_classes: int, *, ignored: int = 255) -> NDArray[np.int64]:
    """Count pixels by true and answered class: ``(C, C + 1)``.

    Args:
        truth: ``(H, W)`` class ids; ``ignored`` pixels are not counted.
        answer: ``(H, W)`` class ids; those from C on are none of the classes, and counted in the last column.
        num_classes: C.
        ignored: a value of ``truth``.

    Raises:
        ValueError: shapes differ, or a true class id is not below C.
    """
    if truth.shape != answer.shape:
        raise ValueError(f"masks must have one shape, got {truth.shape} and {answer.shape}")
    counted = truth != ignored
    rows, columns = truth[counted].astype(np.int64), answer[counted].astype(np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < num_classes:
        raise ValueError(f"true class ids must be below {num_classes}, got {rows.min()} to {rows.max()}")
    width = num_classes + 1
    cells = rows * width + np.minimum(columns, num_classes)
    return np.bincount(cells, minlength=num_classes * width).reshape(num_classes, width)


def segmentation_report(confusions: Sequence[NDArray[np.int64]]) -> SegmentationReport:
    """Join the ``(C, C + 1)`` counts of each image; raises ValueError where there is none."""
    if not confusions:
        raise ValueError("there must be at least one image, got none")
    return SegmentationReport(np.sum(confusions, axis=0), np.stack([iou_of(one) for one in confusions]))


def iou_of(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(C,)`` intersection over union of ``(C, C + 1)`` counts; NaN for a class that does not occur."""
    hits, either = _hits_and_sums(confusion)
    return _ratio(hits, either - hits)


def _hits_and_sums(confusion: NDArray[np.int64]) -> tuple[AnyArray, AnyArray]:
    """``(C,)`` pixels that are right, and those that are of a class plus those that were answered as it."""
    return np.diagonal(confusion), confusion[:, :-1].sum(axis=0) + confusion.sum(axis=1)


def _ratio(part: AnyArray, whole: AnyArray) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
