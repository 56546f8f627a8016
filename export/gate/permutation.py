"""Whether two arrays hold the same columns in another order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.manifest import RawTolerance
from pipelines.raw_agreement import compare_raw
from pipelines.types import AnyArray

MAX_COLUMNS = 4096


def column_order(expected: AnyArray, got: AnyArray, *, axis: int, tolerance: RawTolerance) -> NDArray[np.int64] | None:
    """The ``order`` for which ``got`` is ``expected.take(order, axis)``; ``None`` where there is none, or it is plain.

    Columns are paired by the order of their sums, weighted so that columns with the same values in other places differ.
    """
    count = expected.shape[axis]
    if expected.shape != got.shape or not 2 <= count <= MAX_COLUMNS:
        return None
    if not (np.isfinite(expected).all() and np.isfinite(got).all()):
        return None
    weights = np.random.default_rng(0).normal(size=expected.size // count)
    order = np.empty(count, np.int64)
    order[np.argsort(_lines(got, axis) @ weights)] = np.argsort(_lines(expected, axis) @ weights)
    if (order == np.arange(count)).all():
        return None
    moved = {"output": expected.take(order, axis)}
    return order if compare_raw(moved, {"output": got}, tolerance).problem is None else None


def _lines(values: AnyArray, axis: int) -> AnyArray:
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
