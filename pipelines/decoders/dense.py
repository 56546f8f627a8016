"""What heads with a prediction at every cell share: which classes count, where the cells are, corners of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.activations import sigmoid
from pipelines.outputs import require_finite, require_probabilities
from pipelines.specs.yolo import Activation
from pipelines.types import FloatArray

Doubles = NDArray[np.float64]
BOX_AND_OBJECTNESS = 5


@dataclass(frozen=True, eq=False)
class Picked:
    """``N`` candidates at ``P`` places; a place gives more than one where every class counts.

    Attributes:
        places: for each axis of the cells, ``(P,)`` indices.
        of: ``(N,)`` which of the places each candidate is at.
        class_ids: ``(N,)`` int64.
        scores: ``(N,)`` float32, each at or above the threshold.
    """

    places: tuple[NDArray[np.intp], ...]
    of: NDArray[np.intp]
    class_ids: NDArray[np.int64]
    scores: FloatArray


def pick_columns(
    name: str, classes: FloatArray, *, activation: Activation, score_threshold: float, multi_label: bool
) -> Picked:
    """Pick candidates from a column of class scores ``(C, n)`` a place.

    Both activations keep the order of scores, so the best score of each column is found first, in the memory's own
    order and before any transpose; columns whose best is below the threshold are never looked at again.

    Args:
        name: of the output, for messages.
        classes: logits, or probabilities where ``activation`` is ``none``.
        activation: of the classes.
        score_threshold: 0 to 1.
        multi_label: every class at or above the threshold counts; else the best (ties: the lower id).

    Raises:
        ModelOutputError: the best scores should be probabilities and are not.
    """
    threshold = np.float32(score_threshold)
    best = _activate(name, classes.max(axis=0), activation)
    columns = np.flatnonzero(best >= threshold)
    found = classes[:, columns]  # (C, P)
    if not multi_label:
        return Picked((columns,), np.arange(len(columns)), found.argmax(axis=0).astype(np.int64), best[columns])
    if activation == "sigmoid":
        found = sigmoid(found)
    class_ids, of = _at_or_above(found, threshold)
    return Picked((columns,), of, class_ids, found[class_ids, of])


def pick_rows(
    name: str, rows: FloatArray, *, activation: Activation, score_threshold: float, multi_label: bool
) -> tuple[Picked, FloatArray]:
    """Pick candidates from rows ``(..., 5+C)`` of x, y, w, h, objectness, classes; score = objectness * class.

    No probability exceeds 1, so a row whose objectness is below the threshold is dropped before its classes are read.

    Args:
        name: of the output, for messages.
        rows: logits, or probabilities where ``activation`` is ``none``; any strides.
        activation: of objectness and classes.
        score_threshold: 0 to 1.
        multi_label: every class at or above the threshold counts; else the best (ties: the lower id).

    Returns:
        What was picked, and the rows ``(P, 5+C)`` at its places.

    Raises:
        ModelOutputError: objectness or a class should be a probability and is not.
    """
    threshold = np.float32(score_threshold)
    objectness = _activate(name, rows[..., 4], activation)
    places = np.nonzero(objectness >= threshold)
    found = rows[places]
    classes = _activate(name, found[:, BOX_AND_OBJECTNESS:], activation)
    scores = objectness[places][:, None] * classes  # (P, C)
    if multi_label:
        of, class_ids = _at_or_above(scores, threshold)
        return Picked(places, of, class_ids.astype(np.int64), scores[of, class_ids]), found
    class_ids = classes.argmax(axis=1)
    best = scores[np.arange(len(scores)), class_ids]
    of = np.flatnonzero(best >= threshold)
    return Picked(places, of, class_ids[of].astype(np.int64), best[of]), found


def _activate(name: str, values: FloatArray, activation: Activation) -> FloatArray:
    if activation == "sigmoid":
        return sigmoid(values)
    if values.size:
        require_probabilities(name, values)
    return values


def _at_or_above(scores: FloatArray, threshold: np.float32) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As :func:`numpy.nonzero` on a table ``(R, S)``, which takes several times as long on two axes as on one."""
    flat = np.flatnonzero(scores >= threshold)
    rows = flat // scores.shape[1]
    return rows, flat - rows * scores.shape[1]


def grids(row_hw: tuple[int, int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Cells ``(h, w)`` of each stride that fit into a row of ``row_hw``, in order."""
    return tuple((row_hw[0] // stride, row_hw[1] // stride) for stride in strides)


def cell_xy(flat: NDArray[np.intp], width: int) -> Doubles:
    """Columns and rows ``(N, 2)`` x, y of row-major indices ``(N,)`` into a grid of ``width`` cells."""
    y, x = np.divmod(flat, width)
    return np.stack((x, y), axis=1).astype(np.float64)


def corners(name: str, centers: Doubles, sides: Doubles) -> FloatArray:
    """Boxes ``(N, 4)`` float32 xyxy from centres and sides ``(N, 2)``, all in row pixels.

    Raises:
        ModelOutputError: a corner of a box from output ``name`` is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused below.
        boxes = np.concatenate((centers - sides / 2, centers + sides / 2), axis=1, dtype=np.float32)
    require_finite(f"boxes from output {name!r}", boxes)
    return boxes
