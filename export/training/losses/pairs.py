"""Which images of a batch are one identity: what all losses of embeddings begin with."""

from __future__ import annotations

import torch
from torch import Tensor


def genuine_pairs(identities: Tensor) -> Tensor:
    """``(N, N)`` bool of ``(N,)``: two different images of one identity."""
    same = identities[:, None] == identities[None]
    return same & ~torch.eye(len(identities), dtype=torch.bool, device=identities.device)


def impostor_pairs(identities: Tensor) -> Tensor:
    """``(N, N)`` bool of ``(N,)``: images of two identities."""
    return identities[:, None] != identities[None]


def anchors_and_positives(identities: Tensor) -> tuple[Tensor, Tensor]:
    """Indices ``(P,)`` of both images of every genuine pair, each way round, whose first has an impostor, too."""
    genuine = genuine_pairs(identities) & impostor_pairs(identities).any(dim=1, keepdim=True)
    anchors, positives = genuine.nonzero(as_tuple=True)
    return anchors, positives
