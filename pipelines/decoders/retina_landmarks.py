"""Faces with five points: every anchor may be one face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.anchors import Anchors, Doubles, make_squares
from pipelines.decoders.box_coding import apply_deltas, apply_distances, as_boxes, require_lines
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.class_table import pick
from pipelines.outputs import read_output, require_finite
from pipelines.specs import FaceDistances, FacePriors, RetinaLandmarks
from pipelines.types import AnyArray, FloatArray

_POINTS = 5


def decode(
    outputs: Mapping[str, AnyArray], spec: RetinaLandmarks, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn face heads into candidates (RetinaFace, arXiv:1905.00641; SCRFD, arXiv:2105.04714).

    ``priors`` (RetinaFace): with a square prior's centre ``c``, side ``s`` and the variances ``v``::

        centre = c + s * v[0] * d[:2]     side = s * exp(v[1] * d[2:])     point = c + s * v[0] * p

    ``distances`` (SCRFD): with an anchor's centre ``c`` and the map's stride ``R``, ``l, t, r, b`` the box's output::

        box = (c - R * (l, t), c + R * (r, b))     point = c + R * p

    In float64 from the float32 outputs. An anchor is a candidate when its score is at or above the threshold; boxes and
    points are computed for these alone and are not clipped. The score of a point is 1.

    Args:
        outputs: name to array of one row, as :class:`RetinaLandmarks` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box or point is not
            finite.
    """
    anchors = _anchors(spec, row_hw)
    counts = [len(anchors)] if len(spec.classes) == 1 else [len(level) for level in anchors.levels]
    classes = _read(outputs, spec.classes, counts, 1 if spec.background == "none" else 2, row_hw)
    deltas = _read(outputs, spec.boxes, counts, 4, row_hw)
    picked = pick(
        spec.classes[0],
        classes,
        activation=spec.class_activation,
        background=spec.background,
        per="class",
        score_threshold=score_threshold,
    )
    squares = anchors.at(picked.lines)
    centers = (squares[:, :2] + squares[:, 2:]) / 2
    sides = squares[:, 2:] - squares[:, :2]
    found = deltas[picked.lines].astype(np.float64)
    if isinstance(spec.coding, FacePriors):
        near, grow = spec.coding.variances
        weights = (1 / near, 1 / near, 1 / grow, 1 / grow)
        boxes = apply_deltas(squares, found, weights=weights, max_log_scale=None)
        unit = sides * near
    else:
        boxes = apply_distances(centers, found * np.tile(sides, 2))
        unit = sides
    keypoints = None
    if spec.landmarks is not None:
        points = _read(outputs, spec.landmarks, counts, 2 * _POINTS, row_hw)[picked.lines].reshape(-1, _POINTS, 2)
        keypoints = _as_keypoints(spec.landmarks[0], centers[:, None] + points * unit[:, None])  # (N, 5, 2)
    return Candidates(
        boxes=as_boxes(spec.boxes[0], boxes),
        scores=picked.scores,
        class_ids=picked.class_ids,
        num_classes=picked.num_classes,
        keypoints=keypoints,
    )


def _anchors(spec: RetinaLandmarks, row_hw: tuple[int, int]) -> Anchors:
    """Squares whose centres and sides the outputs are written in."""
    sides: list[tuple[int, Sequence[float]]]
    if isinstance(spec.coding, FaceDistances):
        sides = [(stride, [stride] * spec.coding.anchors_per_cell) for stride in spec.coding.strides]
    else:
        sides = [(level.stride, level.min_sizes) for level in spec.coding.levels]
    return make_squares(sides, row_hw, center_shift=spec.center_shift, step="stride")


def _read(
    outputs: Mapping[str, AnyArray], names: Sequence[str], counts: Sequence[int], columns: int, row_hw: tuple[int, int]
) -> FloatArray:
    """Outputs of all maps ``(N, columns)``, one below the other."""
    arrays = []
    for name, count in zip(names, counts, strict=True):
        array = read_output(outputs, name, (None, columns))
        require_lines(name, len(array), anchors=count, row_hw=row_hw)
        arrays.append(array)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _as_keypoints(name: str, points: Doubles) -> FloatArray:
    """Give each of ``(N, 5, 2)`` points the score 1."""
    keypoints = np.ones((*points.shape[:2], 3), np.float32)
    with np.errstate(over="ignore"):  # what overflows is refused below.
        keypoints[..., :2] = points
    require_finite(f"points from output {name!r}", keypoints)
    return keypoints
