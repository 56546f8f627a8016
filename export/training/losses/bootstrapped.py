"""Bootstrapped cross-entropy: only the hardest items teach (arXiv:1605.06885, section 3.2)."""

from __future__ import annotations

import math

from torch import Tensor

from export.training.losses.cross_entropy import NOT_COUNTED, cross_entropy_each


def bootstrapped_cross_entropy(logits: Tensor, targets: Tensor, *, hardest: float) -> Tensor:
    """Mean cross-entropy of the ``hardest`` share (rounded up) of the items that count; 0 where none does.

    Args:
        logits: ``(N, C, ...)``.
        targets: ``(N, ...)`` int64, ``NOT_COUNTED`` where not counted.
        hardest: above 0, at most 1, which is plain cross-entropy.
    """
    each = cross_entropy_each(logits, targets)[targets != NOT_COUNTED]
    if each.numel() == 0:
        return logits.sum() * 0
    return each.topk(math.ceil(hardest * each.numel())).values.mean()
