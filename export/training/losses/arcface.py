"""ArcFace: softmax over identities whose right angle must win by a margin (arXiv:1801.07698, equation 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def arcface(cosines: Tensor, identities: Tensor, *, margin: float, scale: float) -> Tensor:
    """Cross-entropy of ``scale * cos(theta)``, with ``theta + margin`` at the right identity.

    Beyond ``pi - margin``, where the cosine would rise again, ``cos(theta) - margin * sin(margin)`` goes on falling, as
    in the authors' code.

    Args:
        cosines: ``(N, identities)`` of vectors with the identities' centres.
        identities: ``(N,)`` int64.
        margin: in radians, 0 to below pi.
        scale: s of the paper, the length that vectors are given.
    """
    right = F.one_hot(identities, cosines.shape[1]).bool()
    # 1e-6: the slope of the sine is infinite at 0 and pi.
    sines = (1 - cosines**2).clamp(min=1e-6).sqrt()
    moved = cosines * math.cos(margin) - sines * math.sin(margin)
    moved = torch.where(cosines > -math.cos(margin), moved, cosines - margin * math.sin(margin))
    return F.cross_entropy(scale * torch.where(right, moved, cosines), identities)
