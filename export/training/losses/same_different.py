"""Binary cross-entropy of pairs: do both images show one identity (Koch and others 2015, section 3.2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from export.training.losses.pairs import genuine_pairs, impostor_pairs


def same_different(logits: Tensor, identities: Tensor) -> Tensor:
    """Mean of the mean binary cross-entropies of genuine and of impostor pairs: the many impostors weigh no more.

    Args:
        logits: ``(N, N)`` of each pair of the batch being one identity.
        identities: ``(N,)`` int64.
    """
    same, different = logits[genuine_pairs(identities)], logits[impostor_pairs(identities)]
    parts = [F.softplus(sign * part).mean() for sign, part in ((-1, same), (1, different)) if part.numel()]
    return sum(parts, logits.sum() * 0) / max(len(parts), 1)
