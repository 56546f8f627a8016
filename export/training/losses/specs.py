"""Losses by name and strength: the ``[loss]`` part of a training config."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pipelines.specs import Probability, Spec

NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
BoxIou: TypeAlias = Literal["iou", "giou", "diou", "ciou"]


class CrossEntropy(Spec):
    """Softmax cross-entropy; see :mod:`export.training.losses.cross_entropy`."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Probability = 0.0


class Bootstrapped(Spec):
    """Cross-entropy of the hardest alone; see :mod:`export.training.losses.bootstrapped`."""

    kind: Literal["bootstrapped_cross_entropy"] = "bootstrapped_cross_entropy"
    hardest: Annotated[float, Field(gt=0, le=1)] = 0.25


class Focal(Spec):
    """Cross-entropy less of what is easy; see :mod:`export.training.losses.focal`."""

    kind: Literal["focal"] = "focal"
    gamma: NotNegative = 2.0


class Dice(Spec):
    """Overlap of soft masks; see :mod:`export.training.losses.dice`."""

    kind: Literal["dice"] = "dice"
    cross_entropy_weight: NotNegative = 1.0


class Grid(Spec):
    """Boxes, objectness and classes of an anchor grid; see :mod:`export.training.losses.grid`.

    Attributes:
        kind: ``grid``.
        box: which overlap the boxes are judged by.
        box_weight: of ``1 - overlap`` of the anchors that hold an object.
        objectness_weight: of all anchors' binary cross-entropy.
        class_weight: of the binary cross-entropy of the classes of those that hold one.
        max_ratio: an anchor may hold an object when no side is more than so many times as long as the other's.
        ignore_iou: an anchor without object whose predicted box overlaps one by more is not told that it holds none.
        focal_gamma: of the objectness; 0 is plain cross-entropy.
    """

    kind: Literal["grid"] = "grid"
    box: BoxIou = "ciou"
    box_weight: NotNegative = 2.0
    objectness_weight: NotNegative = 1.0
    class_weight: NotNegative = 0.5
    max_ratio: Annotated[float, Field(gt=1)] = 3.0
    ignore_iou: Probability = 0.6
    focal_gamma: NotNegative = 0.0


PixelLoss: TypeAlias = CrossEntropy | Bootstrapped | Focal | Dice
LossSpec: TypeAlias = Annotated[CrossEntropy | Bootstrapped | Focal | Dice | Grid, Field(discriminator="kind")]
