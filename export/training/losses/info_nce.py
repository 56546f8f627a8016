"""InfoNCE with a temperature: a positive against all negatives (arXiv:1807.03748, equation 4)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from export.training.losses.pairs import anchors_and_positives, impostor_pairs


def info_nce(vectors: Tensor, identities: Tensor, *, temperature: float) -> Tensor:
    """Mean over all genuine pairs of ``-log(e(a, p) / (e(a, p) + sum_n e(a, n)))``; 0 where no pair has a negative.

    ``e(a, b) = exp(cos(a, b) / temperature)`` as in NT-Xent (arXiv:2002.05709, equation 1); n runs over the images of
    other identities alone, so that several images of one do not push each other away.

    Args:
        vectors: ``(N, D)`` of length 1.
        identities: ``(N,)`` int64.
        temperature: above 0; the smaller, the more the nearest negatives count.
    """
    anchors, positives = anchors_and_positives(identities)
    if not len(anchors):
        return vectors.sum() * 0
    logits = vectors @ vectors.T / temperature
    against = logits[anchors].masked_fill(~impostor_pairs(identities)[anchors], -float("inf")).logsumexp(dim=1)
    return F.softplus(against - logits[anchors, positives]).mean()  # -log(e^p / (e^p + e^q)) = softplus(q - p)
