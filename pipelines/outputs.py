"""Reading a graph's raw outputs: present, floating point, of the promised shape, and finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.errors import ModelOutputError
from pipelines.types import AnyArray, FloatArray


def read_output(outputs: Mapping[str, AnyArray], name: str, shape: Sequence[int | None]) -> FloatArray:
    """Return output ``name`` of one row as contiguous float32; ``None`` in ``shape`` is any length from 1 on.

    A float32 array that is contiguous already is returned as it is, so callers must not write into it.

    Raises:
        ModelOutputError: the output is missing, is not floating point, has another shape, or holds NaN or infinity.
    """
    if name not in outputs:
        raise ModelOutputError(f"the model must answer output {name!r}, got {sorted(outputs)}")
    array = outputs[name]
    if not np.issubdtype(array.dtype, np.floating):
        raise ModelOutputError(f"output {name!r} must be floating point, got {array.dtype}")
    fits = array.ndim == len(shape) and all(
        got >= 1 if want is None else got == want for got, want in zip(array.shape, shape, strict=False)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ModelOutputError(f"output {name!r} must have shape ({wanted}) a row, got {array.shape}")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, which is refused below.
        values = np.ascontiguousarray(array, dtype=np.float32)
    require_finite(f"output {name!r}", values)
    return values


def require_finite(what: str, values: AnyArray) -> None:
    """Raise ModelOutputError, beginning with ``what``, where a value is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # One NaN or infinity spoils the sum: a single pass that allocates nothing. A sum of large finite values can
        # overflow too, so only a bad sum is looked at closely.
        total = values.sum()
    if np.isfinite(total) or np.isfinite(values).all():
        return
    bad = int(np.count_nonzero(~np.isfinite(values)))
    raise ModelOutputError(f"{what} must be finite, got {bad:,} NaN or infinite of {values.size:,} values")


def require_probabilities(name: str, values: FloatArray) -> None:
    """Raise ModelOutputError where finite values of output ``name`` are not probabilities: logits, most likely."""
    low, high = float(values.min()), float(values.max())
    # 1e-3: float16 has 11 significand bits, so a sum of rounded terms may leave 0..1 by about that much.
    if low < -1e-3 or high > 1 + 1e-3:
        raise ModelOutputError(f"output {name!r} must hold probabilities from 0 to 1, got {low:.4g} to {high:.4g}")


def require_labels(labels: Sequence[str], num_classes: int) -> None:
    """Raise ModelOutputError where labels are given and their number is not that of the model's classes."""
    if labels and len(labels) != num_classes:
        raise ModelOutputError(f"the manifest names {len(labels)} labels, the model has {num_classes} classes")
