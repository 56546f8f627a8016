"""Centre heatmaps: every cell above the threshold is the centre of one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.decoders.candidates import Candidates, require_grid
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output, require_finite, require_probabilities
from pipelines.specs import CenterHeatmap
from pipelines.types import AnyArray, FloatArray

Cells = tuple[NDArray[np.intp], NDArray[np.intp]]


def decode(
    outputs: Mapping[str, AnyArray], spec: CenterHeatmap, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn centre maps (CenterNet, arXiv:1904.07850; CenterFace, arXiv:1911.03599) into candidates.

    With cell ``(x, y)``, stride ``R`` and the values at that cell, in float64 from the float32 outputs::

        centre = ((x, y) + offset + center_shift) * R
        side   = exp(size) * R  (log)   or   size * R  (linear)

    ``log`` is CenterFace, whose own post-processing moves a box that crosses the left or top edge inside and keeps its
    size there: ``x1 = clip(centre - side / 2, 0, row)``, ``x2 = min(x1 + side, row)``. ``linear`` is CenterNet:
    corners ``centre -+ side / 2``, both clipped to the row. Landmarks are ``x1 + value * side`` from the clipped
    corner, and are not clipped; their score is 1.

    A cell counts when its score is **at or above** the threshold, compared in float32 as it is reported. With
    ``peak_kernel`` 3 or 5 it must also be the largest of that window; of equal neighbours each counts, as in CenterNet.

    Args:
        outputs: name to array of one row, as :class:`CenterHeatmap` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box side is not finite.
    """
    heatmap = read_output(outputs, spec.heatmap, (None, None, None))
    require_probabilities(spec.heatmap, heatmap)
    num_classes, *grid_hw = heatmap.shape
    require_grid(spec.heatmap, (grid_hw[0], grid_hw[1]), row_hw, spec.stride)
    picked = heatmap >= np.float32(score_threshold)
    if spec.peak_kernel > 1:
        picked &= _is_peak(heatmap, spec.peak_kernel)
    class_ids, y, x = np.nonzero(picked)
    size = _pick(read_output(outputs, spec.size, (2, *grid_hw)), (y, x), spec)[:, 0]  # (N, 2)
    offset = _pick(read_output(outputs, spec.offset, (2, *grid_hw)), (y, x), spec)[:, 0]

    with np.errstate(over="ignore"):  # an infinite side is refused below.
        sides = (np.exp(size) if spec.size_encoding == "log" else size) * np.float32(spec.stride)
    require_finite(f"box sides from output {spec.size!r}", sides)
    sides = sides.astype(np.float64)
    centers = (np.stack((x, y), axis=1) + offset.astype(np.float64) + spec.center_shift) * spec.stride
    limit = np.array(row_hw[::-1], dtype=np.float64)
    top_left = np.clip(centers - sides / 2, 0, limit)
    if spec.size_encoding == "log":
        bottom_right = np.minimum(top_left + sides, limit)
    else:
        bottom_right = np.clip(centers + sides / 2, 0, limit)

    keypoints = None
    if spec.landmarks is not None:
        values = _pick(_read_landmarks(outputs, spec.landmarks, grid_hw), (y, x), spec)
        keypoints = _as_keypoints(top_left[:, None] + values * sides[:, None])
    return Candidates(
        boxes=np.concatenate((top_left, bottom_right), axis=1, dtype=np.float32),
        scores=heatmap[class_ids, y, x],
        class_ids=class_ids.astype(np.int64),
        num_classes=num_classes,
        keypoints=keypoints,
    )


def _is_peak(heatmap: FloatArray, kernel: int) -> NDArray[np.bool_]:
    """Mask of the cells of ``(C, h, w)`` that no cell of the window around them exceeds."""
    window = np.ones((kernel, kernel), np.uint8)
    return np.stack([plane == cv2.dilate(plane, window) for plane in heatmap])


def _read_landmarks(outputs: Mapping[str, AnyArray], name: str, grid_hw: Sequence[int]) -> FloatArray:
    maps = read_output(outputs, name, (None, *grid_hw))
    if len(maps) % 2:
        raise ModelOutputError(f"output {name!r} must have two channels a landmark, got {len(maps)}")
    return maps


def _as_keypoints(points: NDArray[np.float64]) -> FloatArray:
    """Give each of ``(N, K, 2)`` points the score 1."""
    keypoints = np.ones((*points.shape[:2], 3), np.float32)
    with np.errstate(over="ignore"):
        keypoints[..., :2] = points
    require_finite("landmarks", keypoints)
    return keypoints


def _pick(maps: FloatArray, at: Cells, spec: CenterHeatmap) -> FloatArray:
    """Values at ``N`` cells of ``(2K, h, w)`` maps as ``(N, K, 2)`` x, y."""
    values = maps[:, at[0], at[1]].T.reshape(len(at[0]), len(maps) // 2, 2)
    return values[..., ::-1] if spec.axis_order == "yx" else values
