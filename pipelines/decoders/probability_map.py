"""Text probability maps: every connected region becomes one rotated rectangle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipelines.decoders.candidates import Candidates
from pipelines.outputs import read_output, require_probabilities
from pipelines.specs import ProbabilityMap
from pipelines.types import AnyArray, FloatArray

_DILATION = np.ones((2, 2), np.uint8)


def decode(
    outputs: Mapping[str, AnyArray], spec: ProbabilityMap, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn a probability map into rotated rectangles (DB, arXiv:1911.08947; post-processing of PP-OCR, "fast" score).

    Each of the first ``max_candidates`` contours (inner ones too, in the order in which OpenCV lists them) of the
    binarised map is replaced by its smallest rotated rectangle ``a x b``. Its score is the mean probability inside it.
    Then it is grown by ``d = area * unclip_ratio / perimeter = a * b * unclip_ratio / (2 * (a + b))``.

    PP-OCR grows the rectangle's outline by ``d`` with round joins and takes the smallest rectangle around that. This is
    the rectangle with every side moved out by ``d``, which is what is computed here. Proof: the grown shape is the
    Minkowski sum of the rectangle and a disc of radius ``d``, so its width in each direction is the rectangle's width
    there plus ``2d``. A bounding rectangle at an angle ``t`` to the sides has the area
    ``w h + 2d (w + h) + 4d²`` with ``w``, ``h`` the rectangle's widths in the two directions. ``w h`` bounds the
    rectangle's own area, so ``w h >= a b``; ``w + h = (a + b)(|cos t| + |sin t|) >= a + b``. Both are smallest at
    ``t = 0``. PP-OCR's polygon library works on whole numbers (corners truncated before, rounded after), so its corners
    differ from these by up to about 2 row pixels.

    Pixels are counted by their index, as PP-OCR does: a rectangle's corners are pixel centres, used as coordinates.

    Args:
        outputs: name to array of one row, as :class:`ProbabilityMap` describes.
        spec: the decoder's constants.
        row_hw: the row's size; the map must have it too.
        score_threshold: 0 to 1; a rectangle counts at or above it, compared in float32 as it is reported.

    Returns:
        Candidates of class 0. ``polygons`` are the 4 corners clockwise from the top left; ``boxes`` bound them. Neither
        is clipped.

    Raises:
        ModelOutputError: the output is missing, has the wrong shape, or does not hold probabilities.
    """
    probabilities = read_output(outputs, spec.output, (1, *row_hw))[0]
    require_probabilities(spec.output, probabilities)
    mask = (probabilities > np.float32(spec.binarize_threshold)).astype(np.uint8)
    if spec.dilate:
        mask = cv2.dilate(mask, _DILATION)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)

    polygons: list[FloatArray] = []
    scores: list[np.float32] = []
    for contour in contours[: spec.max_candidates]:
        center, sides, angle = cv2.minAreaRect(contour)
        if min(sides) < spec.min_side:
            continue
        score = np.float32(_mean_inside(probabilities, _corners(center, sides, angle)))
        if score < np.float32(score_threshold):
            continue
        growth = sides[0] * sides[1] * spec.unclip_ratio / (sides[0] + sides[1])  # 2d: d on both ends of a side.
        grown = (sides[0] + growth, sides[1] + growth)
        if min(grown) < spec.min_side + 2:
            continue
        polygons.append(_corners(center, grown, angle))
        scores.append(score)

    corners = np.array(polygons, np.float32).reshape(-1, 4, 2)
    return Candidates(
        boxes=np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1),
        scores=np.array(scores, np.float32),
        class_ids=np.zeros(len(scores), np.int64),
        num_classes=1,
        polygons=tuple(polygons),
    )


def _corners(center: Sequence[float], sides: Sequence[float], angle: float) -> FloatArray:
    """Corners ``(4, 2)`` x, y of a rotated rectangle, clockwise from the top left.

    Top left is the upper of the two leftmost corners, as in PP-OCR. They are told apart by x, then y, whatever the
    order in which OpenCV gives them.
    """
    points = cv2.boxPoints((center, sides, angle))
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    left, right = points[:2], points[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.stack((top_left, top_right, bottom_right, bottom_left)).astype(np.float32)


def _mean_inside(probabilities: FloatArray, corners: FloatArray) -> float:
    """Mean of the map over the pixels that a polygon covers, its corners truncated to whole pixels as in PP-OCR."""
    limit = np.array(probabilities.shape[::-1]) - 1
    low = np.clip(np.floor(corners.min(axis=0)).astype(np.int32), 0, limit)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(np.int32), 0, limit)
    window = probabilities[low[1] : high[1] + 1, low[0] : high[0] + 1]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], (1,))
    return cv2.mean(window, mask)[0]
