"""Losses, one a file, each with its source."""

from __future__ import annotations

from torch import Tensor

from export.training.losses.arcface import arcface
from export.training.losses.bootstrapped import bootstrapped_cross_entropy
from export.training.losses.cross_entropy import NOT_COUNTED, cross_entropy
from export.training.losses.dice import dice
from export.training.losses.focal import focal
from export.training.losses.grid import GridTargets, grid_loss
from export.training.losses.info_nce import info_nce
from export.training.losses.same_different import same_different
from export.training.losses.specs import (
    ArcFace,
    Bootstrapped,
    CrossEntropy,
    Dice,
    Focal,
    Grid,
    IdentityLoss,
    InfoNce,
    LossSpec,
    PixelLoss,
    SameDifferent,
    Triplet,
    require_pixel_loss,
)
from export.training.losses.triplet import triplet


def pixel_loss(logits: Tensor, targets: Tensor, spec: PixelLoss) -> Tensor:
    """The loss ``spec`` of ``(N, C, ...)`` logits, whole images or pixels, with ``(N, ...)`` classes."""
    match spec:
        case CrossEntropy():
            return cross_entropy(logits, targets, label_smoothing=spec.label_smoothing)
        case Bootstrapped():
            return bootstrapped_cross_entropy(logits, targets, hardest=spec.hardest)
        case Focal():
            return focal(logits, targets, gamma=spec.gamma)
        case Dice():
            return dice(logits, targets) + spec.cross_entropy_weight * cross_entropy(logits, targets)


__all__ = [
    "NOT_COUNTED",
    "ArcFace",
    "Bootstrapped",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Grid",
    "GridTargets",
    "IdentityLoss",
    "InfoNce",
    "LossSpec",
    "PixelLoss",
    "SameDifferent",
    "Triplet",
    "arcface",
    "bootstrapped_cross_entropy",
    "cross_entropy",
    "dice",
    "focal",
    "grid_loss",
    "info_nce",
    "pixel_loss",
    "require_pixel_loss",
    "same_different",
    "triplet",
]
