"""What stands behind an embedding while it trains: a binary answer for pairs, or a centre for each identity."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class PairLogits(nn.Module):
    """``(N, dim)`` vectors to ``(N, N)`` logits that two images show one identity.

    The binary head of a Siamese network: a weighted sum of the absolute differences (Koch and others, "Siamese Neural
    Networks for One-shot Image Recognition", 2015, section 3.1), for every pair of the batch at once.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(dim, 1)
        # Differences of unit vectors are small: the head begins by taking far apart for different.
        nn.init.constant_(self.weigh.weight, -1.0)
        nn.init.constant_(self.weigh.bias, 5.0)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Symmetric logits; above 0 means the same identity."""
        apart = (vectors[:, None] - vectors[None]).abs()  # (N, N, dim)
        logits: torch.Tensor = self.weigh(apart).squeeze(-1)
        return logits


class ClassCosines(nn.Module):
    """``(N, dim)`` vectors to ``(N, identities)`` cosines with a learnt centre of each (arXiv:1801.07698)."""

    def __init__(self, dim: int, identities: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(identities, dim))
        nn.init.normal_(self.centers, std=0.01)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Cosines, from -1 to 1."""
        return F.normalize(vectors) @ F.normalize(self.centers).T
