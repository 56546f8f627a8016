"""Softmax and sigmoid that neither overflow nor warn."""

from __future__ import annotations

import numpy as np

from pipelines.types import FloatArray


def softmax(logits: FloatArray, *, axis: int = -1) -> FloatArray:
    """Exponentials divided by their sum along ``axis``; float32, of the same shape."""
    # The largest logit is taken away first: the quotient stays the same and no exponential exceeds 1.
    with np.errstate(over="ignore"):  # a difference below float32 is -infinity, whose exponential is 0 as it should be.
        powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def sigmoid(logits: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-x))`` as float32, exact in both tails: only negative exponents are ever raised."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, np.float32(1), powers) / (1 + powers)
