"""How alike embeddings are: unit length, cosine similarity, Euclidean distance, every row with every other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, FloatArray

Scores = NDArray[np.float64]


def unit_rows(vectors: AnyArray) -> FloatArray:
    """Divide each of ``(N, D)`` by its L2 norm, computed in float64: ``(N, D)`` float32.

    Raises:
        ValueError: not ``(N, D)``, a value is not finite, or a row is zero and has no direction.
    """
    return _unit(vectors).astype(np.float32)


def cosine_similarity(a: AnyArray, b: AnyArray) -> Scores:
    """Cosine of the angle between every row of ``(N, D)`` and of ``(M, D)``: ``(N, M)`` float64, -1 to 1.

    Raises ValueError as :func:`unit_rows`, or where the rows differ in length.
    """
    _check_pair(a, b)
    return np.clip(_unit(a) @ _unit(b).T, -1.0, 1.0)


def l2_distance(a: AnyArray, b: AnyArray) -> Scores:
    """Euclidean distance between every row of ``(N, D)`` and of ``(M, D)``: ``(N, M)`` float64.

    By |a|² + |b|² - 2ab in float64: of vectors of length 1, distances below 1e-7 are not told from 0. For these,
    distance² = 2 - 2 cosine. Raises ValueError where shapes do not fit or a value is not finite.
    """
    _check_pair(a, b)
    wide_a, wide_b = _finite(a), _finite(b)
    squares = np.square(wide_a).sum(axis=1)[:, None] + np.square(wide_b).sum(axis=1)[None, :]  # (N, M)
    return np.sqrt(np.maximum(squares - 2 * wide_a @ wide_b.T, 0.0))


def _unit(vectors: AnyArray) -> Scores:
    wide = _finite(vectors)  # squares of float32 values neither overflow nor vanish in float64.
    norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    if (norms == 0).any():
        raise ValueError(f"vectors must not be zero, which has no direction, row {int(norms.argmin())} is")
    return wide / norms


def _finite(vectors: AnyArray) -> Scores:
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (N, D), got {vectors.shape}")
    wide = vectors.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("vectors must be finite, got NaN or infinity")
    return wide


def _check_pair(a: AnyArray, b: AnyArray) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"vectors must be (N, D) and (M, D), got {a.shape} and {b.shape}")
