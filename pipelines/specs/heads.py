"""What the graph's outputs mean: one head a task."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.base import Count, Index, OutputName, Positive, Probability, Resample, Spec
from pipelines.specs.decoders import Decoder
from pipelines.specs.yolo import DflAngle, DflMasks, YoloDfl

Temperature: TypeAlias = Annotated[float, Field(ge=1e-6, le=1e6)]


class ClassificationHead(Spec):
    """``output`` is ``(C,)`` a row: logits, which are divided by ``temperature`` (arXiv:1706.04599; 1 is off).

    ``activation``: with ``softmax`` one class is right, ``log_softmax`` scores by the natural logarithm of that
    probability, with ``sigmoid`` each class is right or not for itself, ``none``: the output holds scores already, and
    no temperature acts. The ``top_k`` best classes are answered; with a ``score_threshold`` (multi-label: ``sigmoid``
    or probabilities in the output) those of them that reach it, maybe none.
    """

    task: Literal["classification"]
    output: OutputName
    activation: Literal["softmax", "log_softmax", "sigmoid", "none"]
    temperature: Temperature
    score_threshold: Probability | None
    top_k: Count

    @property
    def has_masks(self) -> bool:
        """Whether results hold masks: never."""
        return False

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)

    @model_validator(mode="after")
    def _acts_on_logits(self) -> Self:
        if self.activation == "none" and self.temperature != 1:
            raise ValueError(f"temperature must be 1 with activation none, got {self.temperature}")
        if self.activation.endswith("softmax") and self.score_threshold is not None:
            raise ValueError(f"score_threshold must be null with activation {self.activation}: one class is right")
        return self


class Nms(Spec):
    """Greedy non-maximum suppression: a box goes when its IoU with a better one is above ``iou_threshold``.

    ``candidates`` best boxes enter; ``class_agnostic`` lets classes suppress each other.
    """

    kind: Literal["hard"]
    iou_threshold: Probability
    class_agnostic: bool
    candidates: Count


class DiouNms(Spec):
    """As ``hard``, but by distance IoU: boxes whose centres lie apart overlap less (arXiv:1911.08287)."""

    kind: Literal["diou"]
    iou_threshold: Probability
    class_agnostic: bool
    candidates: Count


class SoftLinearNms(Spec):
    """A box's score is multiplied by 1 - IoU for each better one whose IoU is above ``iou_threshold``.

    Boxes whose score falls below the head's ``score_threshold`` go (arXiv:1704.04503).
    """

    kind: Literal["soft_linear"]
    iou_threshold: Probability
    class_agnostic: bool
    candidates: Count


class SoftGaussianNms(Spec):
    """A box's score is multiplied by exp(-IoU² / ``sigma``) for each better one; the rest as ``soft_linear``."""

    kind: Literal["soft_gaussian"]
    sigma: Positive
    class_agnostic: bool
    candidates: Count


class MaskNms(Spec):
    """As ``hard``, but by the IoU of the objects' masks: one behind another, whose box covers it, stays."""

    kind: Literal["mask"]
    iou_threshold: Probability
    class_agnostic: bool
    candidates: Count


Suppression: TypeAlias = Annotated[
    Nms | DiouNms | SoftLinearNms | SoftGaussianNms | MaskNms, Field(discriminator="kind")
]


class DetectionHead(Spec):
    """``decoder`` turns raw outputs into candidates at or above ``score_threshold``; ``nms`` null: all are kept.

    Boxes that turn are suppressed by the IoU of the turned boxes, which only ``hard`` knows. ``mask`` needs a
    decoder with masks. ``skeleton`` names the pairs of keypoints, by index, that a drawing joins with a line; it acts
    on nothing else.
    """

    task: Literal["detection"]
    decoder: Decoder
    score_threshold: Probability
    nms: Suppression | None
    max_detections: Count
    skeleton: tuple[tuple[Index, Index], ...] = ()

    @property
    def has_masks(self) -> bool:
        """Whether results hold a mask for each object."""
        return isinstance(self.decoder, YoloDfl) and isinstance(self.decoder.extra, DflMasks)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return self.decoder.output_names

    @model_validator(mode="after")
    def _suppression_that_fits(self) -> Self:
        turns = isinstance(self.decoder, YoloDfl) and isinstance(self.decoder.extra, DflAngle)
        if turns and self.nms is not None and not isinstance(self.nms, Nms):
            raise ValueError(f"nms of boxes that turn must be hard or null, got {self.nms.kind}")
        if isinstance(self.nms, MaskNms) and not self.has_masks:
            raise ValueError("nms mask needs a decoder with masks")
        return self


class SegmentationHead(Spec):
    """``output`` is ``(C,h,w)`` a row at the row's aspect.

    ``softmax``: C classes, index 0 the background. ``sigmoid`` with ``class_thresholds``: C classes beside a background
    that has no map. Either way a pixel takes its most probable class, of those that reach their own threshold where
    ``class_thresholds`` gives one for each class above the background; where none does, the background.

    ``sigmoid``, ``minmax`` (stretched to 0..1 by the row's own extremes) and ``none`` without ``class_thresholds`` need
    C = 1: foreground probability; a pixel is foreground at ``threshold`` or more.

    ``mask_resample`` brings the maps back to the original size, as ``resized`` says: probabilities, or the logits
    before the activation. By ``nearest`` either is the same as resizing the finished labels.
    """

    task: Literal["segmentation"]
    output: OutputName
    activation: Literal["softmax", "sigmoid", "minmax", "none"]
    threshold: Probability
    mask_resample: Resample
    resized: Literal["probabilities", "logits"] = "probabilities"
    class_thresholds: tuple[Probability, ...] = ()

    @property
    def many_classes(self) -> bool:
        """Whether a pixel chooses between classes, not between one foreground and the background."""
        return self.activation == "softmax" or bool(self.class_thresholds)

    @model_validator(mode="after")
    def _what_acts(self) -> Self:
        if self.activation in ("minmax", "none"):
            if self.class_thresholds:
                raise ValueError(f"class_thresholds need activation softmax or sigmoid, got {self.activation}")
            if self.resized == "logits":
                raise ValueError(f"resized must be probabilities with activation {self.activation}, got logits")
        return self

    @property
    def has_masks(self) -> bool:
        """Whether results hold masks: always."""
        return True

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


class EmbeddingHead(Spec):
    """``output`` is ``(dim,)`` a row; ``normalize`` divides it by its L2 norm."""

    task: Literal["embedding"]
    output: OutputName
    dim: Count
    normalize: bool

    @property
    def has_masks(self) -> bool:
        """Whether results hold masks: never."""
        return False

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


Head: TypeAlias = Annotated[
    ClassificationHead | DetectionHead | SegmentationHead | EmbeddingHead, Field(discriminator="task")
]
