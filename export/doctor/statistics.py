"""What the values of an output look like: ranges, sums, whole numbers, order; pure functions on arrays."""

from __future__ import annotations

import numpy as np

from pipelines.types import AnyArray

# float16 graphs round to 11 significand bits, so a probability or a sum may leave its range by about this much.
_SLACK = 2e-3


def within(values: AnyArray, low: float, high: float) -> bool:
    """Whether all values lie in a range, with the slack of float16; true of no values."""
    return bool(values.size == 0 or (values.min() >= low - _SLACK and values.max() <= high + _SLACK))


def are_probabilities(values: AnyArray) -> bool:
    """Whether all values lie in 0..1."""
    return within(values, 0, 1)


def sum_to_one(values: AnyArray, *, axis: int) -> bool:
    """Whether probabilities along an axis of two or more add up to 1: a softmax has been applied."""
    return values.shape[axis] > 1 and are_probabilities(values) and within(values.sum(axis=axis) - 1, 0, 0)


def are_log_probabilities(values: AnyArray, *, axis: int) -> bool:
    """Whether exponentials along an axis add up to 1: a log-softmax has been applied."""
    return within(values, -np.inf, 0) and sum_to_one(np.exp(values), axis=axis)


def are_whole(values: AnyArray) -> bool:
    """Whether all values are whole numbers, and there are any."""
    return bool(values.size and (values == np.round(values)).all())


def are_sorted(values: AnyArray) -> bool:
    """Whether ``(N,)`` values never rise, and not all are the same."""
    return bool(values.size > 1 and (np.diff(values) <= 0).all() and values[0] != values[-1])


def are_corners(boxes: AnyArray) -> bool:
    """Whether ``(N, 4)`` values can be x1, y1, x2, y2: no second corner lies before the first."""
    return bool(len(boxes) and (boxes[:, 2:] >= boxes[:, :2]).all())


def correlation(a: AnyArray, b: AnyArray) -> float:
    """Pearson's coefficient of two ``(N,)`` arrays; 0 where either is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def span(values: AnyArray) -> str:
    """The least and the largest value in words."""
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}" if values.size else "no values"
