"""Candidates: what every decoder answers, before suppression and in pixels of the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelOutputError
from pipelines.types import FloatArray


@dataclass(frozen=True, eq=False)
class Candidates:
    """``N`` possible objects of one row, in no promised order.

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy, row pixels.
        scores: ``(N,)`` float32, each at or above the threshold that the decoder was given.
        class_ids: ``(N,)`` int64, each below ``num_classes``.
        num_classes: how many classes the outputs hold.
        keypoints: ``(N, K, 3)`` float32 x, y, score, row pixels; or ``None``.
        polygons: ``N`` outlines ``(P, 2)`` float32 x, y, row pixels; or ``None``.
        angles: ``(N,)`` float32 radians of boxes that turn, from x towards y; or ``None``. Their ``polygons`` are the
            four corners, clockwise from what is the top left at angle 0.
        mask_coefficients: ``(N, M)`` float32 weights of ``prototypes``; or ``None``.
        prototypes: ``(M, h, w)`` float32 maps over the whole row, at a resolution of their own; or ``None``.
        mask_threshold: least probability of a pixel of an object; or ``None``.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]
    num_classes: int
    keypoints: FloatArray | None = None
    polygons: tuple[FloatArray, ...] | None = None
    angles: FloatArray | None = None
    mask_coefficients: FloatArray | None = None
    prototypes: FloatArray | None = None
    mask_threshold: float | None = None

    def __len__(self) -> int:
        return len(self.boxes)


def join(scales: Sequence[Candidates]) -> Candidates:
    """Put the candidates of one or more scales of a head one after the other; prototypes and threshold are the first's.

    Raises:
        ModelOutputError: the scales have different numbers of classes.
    """
    counts = sorted({scale.num_classes for scale in scales})
    if len(counts) > 1:
        raise ModelOutputError(f"all scales must have as many classes, got {counts}")
    keypoints = [scale.keypoints for scale in scales if scale.keypoints is not None]
    polygons = [scale.polygons for scale in scales if scale.polygons is not None]
    angles = [scale.angles for scale in scales if scale.angles is not None]
    coefficients = [scale.mask_coefficients for scale in scales if scale.mask_coefficients is not None]
    return Candidates(
        boxes=np.concatenate([scale.boxes for scale in scales]),
        scores=np.concatenate([scale.scores for scale in scales]),
        class_ids=np.concatenate([scale.class_ids for scale in scales]),
        num_classes=counts[0],
        keypoints=np.concatenate(keypoints) if keypoints else None,
        polygons=tuple(polygon for outlines in polygons for polygon in outlines) if polygons else None,
        angles=np.concatenate(angles) if angles else None,
        mask_coefficients=np.concatenate(coefficients) if coefficients else None,
        prototypes=scales[0].prototypes,
        mask_threshold=scales[0].mask_threshold,
    )


def require_grid(name: str, grid_hw: tuple[int, int], row_hw: tuple[int, int], stride: int) -> None:
    """Raise ModelOutputError where a map of ``grid_hw`` cells of ``stride`` pixels does not cover the row.

    A side that is no multiple of the stride may be rounded up or down.
    """
    if any(abs(cells * stride - side) >= stride for cells, side in zip(grid_hw, row_hw, strict=True)):
        raise ModelOutputError(
            f"output {name!r} must cover a row of {row_hw[0]} x {row_hw[1]} at stride {stride}, "
            f"got {grid_hw[0]} x {grid_hw[1]} cells"
        )
