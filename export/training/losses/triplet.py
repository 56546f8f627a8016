"""Triplet loss with semi-hard negatives, mined in the batch (FaceNet, arXiv:1503.03832, sections 3.1 and 3.2)."""

from __future__ import annotations

from torch import Tensor

from export.training.losses.pairs import anchors_and_positives, impostor_pairs


def triplet(vectors: Tensor, identities: Tensor, *, margin: float) -> Tensor:
    """Mean of ``max(0, d(a, p) - d(a, n) + margin)``, d the squared distance; 0 where no pair has a negative.

    Every image a is an anchor with every other image p of its identity. Its n is the nearest image of others that lies
    farther than p (semi-hard: the hardest of all make all vectors collapse); where none does, the farthest.

    Args:
        vectors: ``(N, D)`` of length 1, so that ``d = 2 - 2 cos``.
        identities: ``(N,)`` int64.
        margin: of squared distances, which are 0 to 4.
    """
    anchors, positives = anchors_and_positives(identities)
    if not len(anchors):
        return vectors.sum() * 0
    distances = 2 - 2 * vectors @ vectors.T
    near = distances[anchors, positives]  # (P,)
    negatives = choose_negatives(distances[anchors].detach(), impostor_pairs(identities)[anchors], near.detach())
    return (near - distances[anchors, negatives] + margin).clamp(min=0).mean()


def choose_negatives(distances: Tensor, others: Tensor, near: Tensor) -> Tensor:
    """Index ``(P,)`` of each pair's negative.

    Args:
        distances: ``(P, N)`` of each anchor from each image.
        others: ``(P, N)`` bool, images of another identity than the anchor's, at least one each.
        near: ``(P,)`` distance of the positive.
    """
    beyond = others & (distances > near[:, None])
    nearest_beyond = distances.masked_fill(~beyond, float("inf")).argmin(dim=1)
    farthest = distances.masked_fill(~others, -float("inf")).argmax(dim=1)
    return nearest_beyond.where(beyond.any(dim=1), farthest)
