"""How boxes are written against a reference: as scaled offsets from an anchor, or as distances from a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import clip
from pipelines.errors import ModelOutputError
from pipelines.outputs import require_finite
from pipelines.types import AnyArray, FloatArray

Doubles = NDArray[np.float64]


def apply_deltas(
    anchors: Doubles, deltas: AnyArray, *, weights: Sequence[float], max_log_scale: float | None
) -> Doubles:
    """Move and scale anchors (Faster R-CNN, arXiv:1506.01497, equation 2, solved for the box).

    With an anchor's centre ``xa, ya`` and sides ``wa, ha``::

        x = xa + wa * dx / wx     w = wa * exp(min(dw / ww, max_log_scale))

    and so for ``y`` and ``h``. A side that overflows is infinite.

    Args:
        anchors: ``(N, 4)`` float64 xyxy.
        deltas: ``(N, 4)`` dx, dy, dw, dh.
        weights: ``wx, wy, ww, wh``.
        max_log_scale: ``None`` is no limit.

    Returns:
        ``(N, 4)`` float64 xyxy.
    """
    sides = anchors[:, 2:] - anchors[:, :2]
    scaled = deltas / np.array(weights, np.float64)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + scaled[:, :2] * sides
    growth = scaled[:, 2:] if max_log_scale is None else np.minimum(scaled[:, 2:], max_log_scale)
    with np.errstate(over="ignore"):
        halves = sides * np.exp(growth) / 2
    return np.concatenate((centers - halves, centers + halves), axis=1)


def apply_distances(points: Doubles, distances: Doubles) -> Doubles:
    """Boxes ``(N, 4)`` xyxy that reach left, top, right and bottom of ``(N, 2)`` points as far as ``(N, 4)`` says."""
    return np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1)


def as_boxes(name: str, boxes: Doubles, *, clip_hw: tuple[int, int] | None = None) -> FloatArray:
    """Boxes as float32, moved inside a row of ``clip_hw`` where one is given.

    Raises:
        ModelOutputError: a corner, before it is moved, is beyond float32; ``name`` is the output to blame.
    """
    with np.errstate(over="ignore"):  # what overflows is refused below.
        boxes32 = boxes.astype(np.float32)
    require_finite(f"boxes from output {name!r}", boxes32)
    return boxes32 if clip_hw is None else clip(boxes32, clip_hw)


def require_lines(name: str, found: int, *, anchors: int, row_hw: tuple[int, int]) -> None:
    """Raise ModelOutputError where output ``name`` does not have one line an anchor."""
    if found != anchors:
        raise ModelOutputError(
            f"output {name!r} must have one line for each of the {anchors:,} anchors "
            f"of a row of {row_hw[0]} x {row_hw[1]}, got {found:,}"
        )
