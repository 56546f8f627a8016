"""Losses by name and strength: the ``[loss]`` part of a training config."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pipelines.errors import RecipeError
from pipelines.specs import Positive, Probability, Spec

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


class EmbeddingLoss(Spec):
    """What all losses of embeddings have: batches of some identities, with some images of each.

    Attributes:
        images_each: of one identity in a batch, which holds ``loop.batch_size // images_each`` identities.
    """

    images_each: Annotated[int, Field(ge=2)] = 4


class Triplet(EmbeddingLoss):
    """Genuine pairs nearer than impostor pairs by a margin; see :mod:`export.training.losses.triplet`."""

    kind: Literal["triplet"] = "triplet"
    margin: Annotated[float, Field(gt=0, le=4)] = 0.2


class InfoNce(EmbeddingLoss):
    """Genuine pairs picked out among impostor pairs; see :mod:`export.training.losses.info_nce`."""

    kind: Literal["info_nce"] = "info_nce"
    temperature: Positive = 0.1


class ArcFace(EmbeddingLoss):
    """Identities told apart by an angle; see :mod:`export.training.losses.arcface`; ``model.head`` is ``classes``."""

    kind: Literal["arcface"] = "arcface"
    margin: Annotated[float, Field(ge=0, lt=3.14)] = 0.5
    scale: Positive = 64.0


class SameDifferent(EmbeddingLoss):
    """A binary answer for pairs; see :mod:`export.training.losses.same_different`; ``model.head`` is ``pairs``."""

    kind: Literal["same_different"] = "same_different"


PixelLoss: TypeAlias = CrossEntropy | Bootstrapped | Focal | Dice
IdentityLoss: TypeAlias = Triplet | InfoNce | ArcFace | SameDifferent
LossSpec: TypeAlias = Annotated[
    CrossEntropy | Bootstrapped | Focal | Dice | Grid | Triplet | InfoNce | ArcFace | SameDifferent,
    Field(discriminator="kind"),
]


def require_pixel_loss(loss: LossSpec | None, *, task: str) -> PixelLoss:
    """The loss of a task with logits, cross-entropy where none is named; raises RecipeError for one that needs more."""
    if loss is not None and not isinstance(loss, PixelLoss):
        raise RecipeError(f"loss.kind must be one of {task}, got {loss.kind}")
    return loss or CrossEntropy()
