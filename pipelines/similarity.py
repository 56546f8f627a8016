"""Similarity transforms between sets of points: least squares, inverse, application."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, BoolArray

Matrix = NDArray[np.float64]

# Points count as one place, or as lying on one line, where their spread across the other direction is below this part
# of the larger one: a tenth of a pixel on a face of 100 px, far below what any detector resolves.
_FLAT = 1e-3
# Float32 coordinates near 16,384 px are 2e-3 px apart: a spread below that says nothing.
_LEAST_SPREAD_PX = 1e-2


def estimate_similarity(source: AnyArray, target: AnyArray) -> Matrix:
    """The rotation, scale and shift that move ``source`` onto ``target`` with the least sum of squared distances.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 13(4), 1991,
    equations 34 to 43, in float64: the covariance's singular vectors give the rotation, the last of them turned where
    the best orthogonal matrix would be a reflection.

    Args:
        source: ``(..., P, 2)`` x, y; ``P`` at least 2.
        target: ``(P, 2)``, or one for each source.

    Returns:
        ``(..., 2, 3)``: ``matrix @ (x, y, 1)`` moves a point.

    Raises:
        ValueError: shapes do not fit, a number is not finite, or :func:`is_degenerate` says so of ``source`` or
            ``target``.
    """
    _check(source, target)
    for name, points in (("source", source), ("target", target)):
        if is_degenerate(points).any():
            wanted = "apart" if points.shape[-2] == 2 else "apart and not on one line"
            raise ValueError(f"{name} points must be finite, {wanted}, got {np.asarray(points).tolist()!s:.200}")
    wide_source, wide_target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = wide_source.mean(axis=-2), wide_target.mean(axis=-2)
    a, b = wide_source - source_mean[..., None, :], wide_target - target_mean[..., None, :]
    count = source.shape[-2]
    covariance = np.swapaxes(b, -1, -2) @ a / count
    left, values, right = np.linalg.svd(covariance)
    mirrored = np.asarray(np.linalg.det(left) * np.linalg.det(right) < 0)
    signs = np.stack((np.ones(mirrored.shape), np.where(mirrored, -1.0, 1.0)), axis=-1)  # (..., 2)
    rotation = (left * signs[..., None, :]) @ right
    scale = (values * signs).sum(axis=-1) / (np.square(a).sum(axis=(-1, -2)) / count)
    turn = scale[..., None, None] * rotation
    shift = target_mean - (turn @ source_mean[..., None])[..., 0]
    return np.concatenate((turn, shift[..., None]), axis=-1)


def is_degenerate(points: AnyArray) -> BoolArray:
    """Whether ``(..., P, 2)`` points determine no similarity worth the name: ``(...)`` bool.

    They are not finite, lie in one place, or, where they are 3 or more, on one line.
    """
    wide = np.asarray(points, np.float64)
    finite = np.isfinite(wide).all(axis=(-1, -2))
    safe = np.where(np.expand_dims(finite, (-1, -2)), wide, 0.0)
    spread = np.linalg.svd(safe - safe.mean(axis=-2, keepdims=True), compute_uv=False)
    flat = spread[..., 0] < _LEAST_SPREAD_PX
    if wide.shape[-2] > 2:
        flat = flat | (spread[..., 1] < _FLAT * spread[..., 0])
    return np.asarray(np.logical_or(~finite, flat))


def invert(matrix: Matrix) -> Matrix:
    """The way back: ``(..., 2, 3)`` of ``(..., 2, 3)``."""
    turn = np.linalg.inv(matrix[..., :2])
    return np.concatenate((turn, -turn @ matrix[..., 2:]), axis=-1)


def move(matrix: Matrix, points: AnyArray) -> Matrix:
    """Move ``(..., P, 2)`` x, y by ``(..., 2, 3)``, in float64."""
    return np.asarray(points, np.float64) @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def _check(source: AnyArray, target: AnyArray) -> None:
    fits = source.ndim >= 2 and source.shape[-1] == 2 and source.shape[-2] >= 2
    if not fits or target.shape not in (source.shape, source.shape[-2:]):
        raise ValueError(f"points must be (..., 2 or more, 2), as many in both, got {source.shape} and {target.shape}")
