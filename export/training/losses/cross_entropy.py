"""Cross-entropy of softmax, of whole images or of every pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

NOT_COUNTED = -100  # what belongs to no class: below 0, since ImageNet has a class 255.


def cross_entropy_each(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """``-sum_c q_c log p_c`` of each item, p the softmax of ``(N, C, ...)`` logits along C; 0 where not counted.

    ``q`` is 1 at the class of ``(N, ...)`` int64 ``targets``, or ``1 - label_smoothing`` there and ``label_smoothing``
    spread over all classes (arXiv:1512.00567, section 7).
    """
    return F.cross_entropy(logits, targets, reduction="none", ignore_index=NOT_COUNTED, label_smoothing=label_smoothing)


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean of :func:`cross_entropy_each` over the items that count; 0 where none does."""
    each = cross_entropy_each(logits, targets, label_smoothing=label_smoothing)
    return each.sum() / (targets != NOT_COUNTED).sum().clamp(min=1)
