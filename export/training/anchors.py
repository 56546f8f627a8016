"""Anchors of a grid detector from the boxes that it will be trained on."""

from __future__ import annotations

import numpy as np

from pipelines.types import AnyArray

MAX_ROUNDS = 300


def shape_iou(a: AnyArray, b: AnyArray) -> AnyArray:
    """IoU ``(N, M)`` float64 of ``(N, 2)`` with ``(M, 2)`` widths and heights, laid corner on corner."""
    shared = np.minimum(a[:, None], b[None]).prod(axis=2, dtype=np.float64)
    return shared / (a.prod(axis=1, dtype=np.float64)[:, None] + b.prod(axis=1, dtype=np.float64)[None] - shared)


def cluster_anchors(shapes: AnyArray, count: int, rng: np.random.Generator) -> AnyArray:
    """Find ``count`` shapes that overlap ``(N, 2)`` widths and heights best: ``(count, 2)`` float64, smallest first.

    k-means with the distance ``1 - IoU`` (YOLO9000, arXiv:1612.08242, section 2), each centre the median of its shapes,
    begun as k-means++ begins: each next centre is drawn by its squared distance from those before.

    Raises:
        ValueError: there are fewer different shapes than anchors.
    """
    shapes = np.asarray(shapes, np.float64)
    different = len(np.unique(shapes, axis=0))
    if different < count:
        raise ValueError(f"there must be at least {count} different box shapes, got {different}")
    centers = shapes[rng.integers(len(shapes))][None]
    while len(centers) < count:
        away = (1 - shape_iou(shapes, centers).max(axis=1)) ** 2
        centers = np.concatenate((centers, shapes[rng.choice(len(shapes), p=away / away.sum())][None]))
    owner = np.full(len(shapes), -1)
    for _ in range(MAX_ROUNDS):
        nearest = shape_iou(shapes, centers).argmax(axis=1)
        if np.array_equal(nearest, owner):
            break
        owner = nearest
        # A centre that lost all its shapes stays where it is.
        centers = np.stack(
            [np.median(shapes[owner == k], axis=0) if (owner == k).any() else centers[k] for k in range(count)]
        )
    return centers[np.argsort(centers.prod(axis=1), kind="stable")]


def mean_best_iou(shapes: AnyArray, anchors: AnyArray) -> float:
    """Mean over the shapes of the IoU with the anchor that fits best: YOLO9000's figure of merit."""
    return float(shape_iou(np.asarray(shapes), np.asarray(anchors)).max(axis=1).mean())
