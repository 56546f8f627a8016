"""Softmax, its logarithm and sigmoid, none of which overflows or warns."""

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


def log_softmax(logits: FloatArray, *, axis: int = -1) -> FloatArray:
    """Natural logarithm of :func:`softmax`; float32, finite where the probability itself is too small for float32."""
    # As above; the sum is at least 1, so its logarithm is 0 or more.
    with np.errstate(over="ignore"):
        lowered = np.maximum(logits - logits.max(axis=axis, keepdims=True), -np.finfo(np.float32).max)
    return lowered - np.log(np.exp(lowered).sum(axis=axis, keepdims=True))


def sigmoid(logits: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-x))`` as float32, exact in both tails: only negative exponents are ever raised."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, np.float32(1), powers) / (1 + powers)
