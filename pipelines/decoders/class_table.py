"""Tables of class scores, one line an anchor or a query: which lines and classes count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.activations import sigmoid, softmax
from pipelines.errors import ModelOutputError
from pipelines.outputs import require_probabilities
from pipelines.specs.anchors import Background, ClassActivation
from pipelines.types import FloatArray


@dataclass(frozen=True, eq=False)
class Picked:
    """``K`` scores of a table, line by line, then class by class.

    Attributes:
        lines: ``(K,)`` int64, where in the table.
        class_ids: ``(K,)`` int64, without the background.
        scores: ``(K,)`` float32, each at or above the threshold.
        num_classes: how many classes the table holds, without the background.
    """

    lines: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    scores: FloatArray
    num_classes: int


def pick(
    name: str,
    table: FloatArray,
    *,
    activation: ClassActivation,
    background: Background,
    per: Literal["line", "class"],
    score_threshold: float,
) -> Picked:
    """Pick what is at or above the threshold, compared in float32 as it is reported.

    Most lines hold no object. They are dropped by one maximum each, on the logits: ``sigmoid(z) >= t`` means
    ``z >= log(t / (1 - t))``, and a softmax with a background ``b`` is at most ``sigmoid(z - b)``. Only what is left is
    raised to exponentials.

    Args:
        name: of the output, for the errors.
        table: ``(N, C)`` logits, or probabilities where ``activation`` is ``none``.
        activation: what turns a line into probabilities.
        background: the column that is no class; it takes part in the softmax.
        per: ``line`` picks the class with the largest value of a line (ties: the lower id), ``class`` every class.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: no class is left beside the background, or probabilities are out of range.
    """
    first = 1 if background == "first" else 0
    num_classes = table.shape[1] - (background != "none")
    if num_classes < 1:
        raise ModelOutputError(f"output {name!r} must have a class beside the background, got {table.shape[1]} column")
    if activation == "none" and table.size:
        require_probabilities(name, table)
    classes = slice(first, first + num_classes)
    lines = _lines_that_may(table, classes, activation, background, score_threshold)
    found = softmax(table[lines])[:, classes] if activation == "softmax" else table[lines, classes]
    if per == "line":
        at, class_ids = np.arange(len(found)), found.argmax(axis=1)
    else:
        least = _logit_floor(score_threshold) if activation == "sigmoid" else np.float32(score_threshold)
        at, class_ids = np.divmod(np.flatnonzero(found >= least), num_classes)
    scores = sigmoid(found[at, class_ids]) if activation == "sigmoid" else found[at, class_ids]
    kept = scores >= np.float32(score_threshold)
    return Picked(lines[at[kept]], class_ids[kept], scores[kept], num_classes)


def _lines_that_may(
    table: FloatArray, classes: slice, activation: ClassActivation, background: Background, score_threshold: float
) -> NDArray[np.int64]:
    """Indices of the lines of which a class may reach the threshold: all of those that do, and few others."""
    if activation == "softmax" and background == "none":
        return np.arange(len(table))  # nothing bounds a softmax but the whole sum.
    best = table[:, classes].max(axis=1)
    if activation == "none":
        return np.flatnonzero(best >= np.float32(score_threshold))
    if activation == "softmax":
        with np.errstate(over="ignore"):  # a difference beyond float32 is infinite, on its own side of any threshold.
            best = best - table[:, 0 if background == "first" else -1]
    return np.flatnonzero(best >= _logit_floor(score_threshold))


def _logit_floor(score_threshold: float) -> np.float32:
    """A logit that lies below all whose sigmoid reaches the threshold, however the sigmoid is rounded."""
    if score_threshold < 1e-6:  # nearly all logits reach it; and towards 1e-38 float32 runs out of digits.
        return np.float32(-np.inf)
    # Near 1 float32 runs out of sigmoids: 17 already gives 1. The margin of 1e-3 is far more than any rounding.
    chance = min(score_threshold, 0.999)
    return np.float32(math.log(chance / (1 - chance)) - 1e-3)
