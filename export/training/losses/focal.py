"""Focal loss: what the model is sure of counts less (arXiv:1708.02002, equation 4, without its class weights)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from export.training.losses.cross_entropy import NOT_COUNTED, cross_entropy_each


def focal(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Mean of ``-(1 - p)^gamma log p``, p the softmax probability of the right class; 0 where no item counts.

    Args:
        logits: ``(N, C, ...)``.
        targets: ``(N, ...)`` int64, ``NOT_COUNTED`` where not counted.
        gamma: 0 is plain cross-entropy.
    """
    each = cross_entropy_each(logits, targets)  # -log p
    weighted = (1 - torch.exp(-each)).clamp(min=0) ** gamma * each
    return weighted.sum() / (targets != NOT_COUNTED).sum().clamp(min=1)


def binary_focal_each(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """``(1 - p)^gamma`` times the binary cross-entropy of each logit, p the probability of what is right.

    ``targets`` are 0 or 1, of the same shape; the result has it, too.
    """
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return each if gamma == 0 else (1 - torch.exp(-each)).clamp(min=0) ** gamma * each
