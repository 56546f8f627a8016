"""What a trainable model is called and which choices it leaves open: the ``[model]`` part of a training config."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs import Count, Level, Positive, SizeHW, Spec

Anchor: TypeAlias = tuple[Positive, Positive]
DetectorName: TypeAlias = Literal[
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssdlite320_mobilenet_v3_large",
]
SegmenterName: TypeAlias = Literal[
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet101",
    "deeplabv3_resnet50",
    "fcn_resnet101",
    "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
]


class LeNet5(Spec):
    """LeNet-5 with today's activations (Proceedings of the IEEE 86(11), 1998, figure 2); grey rows of 32 x 32.

    Attributes:
        kind: ``lenet5``.
    """

    kind: Literal["lenet5"] = "lenet5"


class GridDetector(Spec):
    """A YOLO-style detector: every anchor of every cell may be one object (arXiv:1804.02767).

    Attributes:
        kind: ``grid_detector``.
        backbone: ``residual``, our own, or ``efficientnet_lite0``, which has published weights to start from.
        width: channels at half the row's size; every later stage has twice as many, up to 8 times. The neck has no more
            than that at each stride, whatever the backbone.
        depth: residual blocks of a stage of our own backbone.
        strides: row pixels a cell, one a scale, finest first: each of 4, 8, 16, 32, each twice the one before.
        anchors: width and height in row pixels, the same number for each stride; null: found in the training boxes.
        anchors_per_scale: how many are looked for where ``anchors`` is null.
        size_hw: side of the row, a multiple of the largest stride: the image is letterboxed into it. Null: the image
            keeps its size and is padded to a multiple, as aerial photos of one ground resolution need.
        max_longer: with ``size_hw`` null, images are scaled down to this longer side; null: never.
        nms_iou_threshold: boxes of one class that overlap more are one object.
        score_threshold: least score of a detection when the model is served.
        max_detections: most detections of an image.
    """

    kind: Literal["grid_detector"] = "grid_detector"
    backbone: Literal["residual", "efficientnet_lite0"] = "residual"
    width: Annotated[int, Field(ge=4, le=256)] = 16
    depth: Annotated[int, Field(ge=1, le=16)] = 1
    strides: tuple[Literal[4, 8, 16, 32], ...] = Field((8, 16), min_length=1, max_length=4)
    anchors: tuple[tuple[Anchor, ...], ...] | None = None
    anchors_per_scale: Annotated[int, Field(ge=1, le=16)] = 3
    size_hw: SizeHW | None = (416, 416)
    max_longer: Count | None = None
    nms_iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.45
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.25
    max_detections: Count = 300

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(after != 2 * before for before, after in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"strides must double from one scale to the next, got {self.strides}")
        if self.size_hw is not None and any(side % self.strides[-1] for side in self.size_hw):
            raise ValueError(f"size_hw must be multiples of {self.strides[-1]}, got {self.size_hw}")
        if self.size_hw is not None and self.max_longer is not None:
            raise ValueError("max_longer acts only where size_hw is null")
        if self.anchors is not None and len({len(self.strides), len(self.anchors)}) > 1:
            raise ValueError(f"anchors must be {len(self.strides)} groups, one a stride, got {len(self.anchors)}")
        if self.anchors is not None and len({len(group) for group in self.anchors}) > 1:
            raise ValueError("anchors must be as many for each stride")
        return self


class TorchvisionClassifier(Spec):
    """Any classifier of torchvision, its last layer replaced by one for the classes at hand.

    Attributes:
        kind: ``torchvision_classifier``.
        name: as ``torchvision.models`` has it: ``resnet18``, ``vit_b_16``.
        size_hw: the row's size; null: what the first published weights are for (mostly 224 x 224).
        resize_shorter: before the centre crop; null: as much longer than the row as those weights want it (mostly
            256/224).
    """

    kind: Literal["torchvision_classifier"] = "torchvision_classifier"
    name: str
    size_hw: SizeHW | None = None
    resize_shorter: Count | None = None


class TorchvisionDetector(Spec):
    """A detector of torchvision, trained with its own losses; the graph holds its heads, our decoders do the rest.

    Attributes:
        kind: ``torchvision_detector``.
        name: which.
        size_hw: the row's size, into which the image is letterboxed (SSDLite: stretched); null: 320 x 320 for SSDLite,
            640 x 640 for others.
        score_threshold: least score of a detection when the model is served.
        nms_iou_threshold: boxes of one class that overlap more are one object.
        max_detections: most detections of an image.
    """

    kind: Literal["torchvision_detector"] = "torchvision_detector"
    name: DetectorName
    size_hw: SizeHW | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.25
    nms_iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_detections: Count = 300


class TorchvisionSegmenter(Spec):
    """A segmenter of torchvision: DeepLabV3 (dilated), FCN or LR-ASPP.

    Attributes:
        kind: ``torchvision_segmenter``.
        name: which.
        size_hw: the row's size, into which the image is stretched.
    """

    kind: Literal["torchvision_segmenter"] = "torchvision_segmenter"
    name: SegmenterName
    size_hw: SizeHW = (256, 256)


class EmbeddingNet(Spec):
    """A Siamese network: one vector of length 1 an image, whose cosine with another says whether both show the same.

    Attributes:
        kind: ``embedding_net``.
        backbone: ``residual``, our own, or ``efficientnet_lite0``, which has published weights to start from.
        size_hw: the row's size, multiples of ``average * 2 ** stages``, into which the image is stretched.
        color: ``gray`` rows have one channel.
        width: channels of the first stage of our own backbone; each later one has twice as many as the one before.
        stages: how often the size is halved; few identities teach few.
        average: so many cells of the last map, each way, are averaged into one: what lies a little elsewhere is the
            same. 1: none are.
        mirrored: the vector is that of the image and its mirror image together, hence the same for both.
        dim: length of the vectors.
        dropout: chance of each value of the last map to be left out while the network trains.
        projection: the last layer begins at ``random``, or at the linear ``discriminant`` of the training images (see
            :mod:`export.training.discriminant`), which few identities fit less closely than by gradients.
        head: what the loss needs beside vectors while it trains, and no package holds: ``none`` (triplet, InfoNCE), a
            binary answer same or different for ``pairs``, a centre for each of the ``classes`` (ArcFace).
    """

    kind: Literal["embedding_net"] = "embedding_net"
    backbone: Literal["residual", "efficientnet_lite0"] = "residual"
    size_hw: SizeHW = (112, 112)
    color: Literal["rgb", "gray"] = "rgb"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    stages: Annotated[int, Field(ge=1, le=5)] = 4
    average: Annotated[int, Field(ge=1, le=16)] = 1
    mirrored: bool = False
    dim: Count = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    projection: Literal["random", "discriminant"] = "random"
    head: Literal["none", "pairs", "classes"] = "none"

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        multiple = self.average * 2**self.stages
        if any(side % multiple for side in self.size_hw):
            raise ValueError(f"size_hw must be multiples of {multiple}, got {self.size_hw}")
        return self


class UNet(Spec):
    """A U-Net with transposed convolutions (arXiv:1505.04597).

    Attributes:
        kind: ``unet``.
        color: ``gray`` rows have one channel.
        width: channels at full size; each level below has twice as many.
        levels: how often the size is halved.
        size_hw: the row's size, a multiple of ``2 ** levels``, into which the image is stretched. Null: the image keeps
            its size and is padded to a multiple.
        pad_value: level of that padding.
        max_longer: with ``size_hw`` null, images are scaled down to this longer side; null: never.
    """

    kind: Literal["unet"] = "unet"
    color: Literal["rgb", "gray"] = "rgb"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    levels: Annotated[int, Field(ge=1, le=5)] = 4
    size_hw: SizeHW | None = None
    pad_value: Level = 0
    max_longer: Count | None = 2048

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        multiple = 2**self.levels
        if self.size_hw is not None and any(side % multiple for side in self.size_hw):
            raise ValueError(f"size_hw must be multiples of {multiple}, got {self.size_hw}")
        return self


ModelSpec: TypeAlias = Annotated[
    LeNet5 | GridDetector | EmbeddingNet | UNet | TorchvisionClassifier | TorchvisionDetector | TorchvisionSegmenter,
    Field(discriminator="kind"),
]
