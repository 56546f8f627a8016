"""Soft Dice loss: how little predicted and true masks overlap (arXiv:1606.04797, section 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from export.training.losses.cross_entropy import NOT_COUNTED


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """1 less the mean Dice coefficient ``2 sum(p g) / (sum(p^2) + sum(g^2))`` of the classes that occur.

    The sums run over all pixels of the batch that count. A class that no pixel of the batch has says nothing and is
    left out.

    Args:
        logits: ``(N, C, H, W)``; p is their softmax along C.
        targets: ``(N, H, W)`` int64, ``NOT_COUNTED`` where not counted.
    """
    counted = (targets != NOT_COUNTED).unsqueeze(1)
    probabilities = logits.softmax(dim=1) * counted
    truth = F.one_hot(targets.masked_fill(targets == NOT_COUNTED, 0), logits.shape[1]).movedim(-1, 1) * counted
    over = (0, *range(2, logits.ndim))
    shared = (probabilities * truth).sum(over)
    total = (probabilities**2).sum(over) + truth.sum(over)
    occurs = truth.sum(over) > 0
    if not occurs.any():
        return logits.sum() * 0
    return 1 - (2 * shared[occurs] / total[occurs]).mean()
