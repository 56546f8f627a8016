"""What a trainable model is called and which choices it leaves open: the ``[model]`` part of a training config."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs import Count, Positive, SizeHW, Spec

Anchor: TypeAlias = tuple[Positive, Positive]


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
        width: channels of the first stage; every later stage has twice as many, up to 8 times.
        depth: residual blocks of a stage.
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
        size_hw: the row's size; null: what the published weights were trained with (224 or 299).
        resize_shorter: before the centre crop; null: 256/224 of the row's longer side.
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
        size_hw: the row's size, into which the image is letterboxed; null: 320 x 320 for SSDLite, 640 x 640 for others.
        score_threshold: least score of a detection when the model is served.
        nms_iou_threshold: boxes of one class that overlap more are one object.
        max_detections: most detections of an image.
    """

    kind: Literal["torchvision_detector"] = "torchvision_detector"
    name: Literal[
        "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn"
    ]
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
    name: Literal[
        "deeplabv3_resnet50",
        "deeplabv3_resnet101",
        "deeplabv3_mobilenet_v3_large",
        "fcn_resnet50",
        "fcn_resnet101",
        "lraspp_mobilenet_v3_large",
    ]
    size_hw: SizeHW = (256, 256)


ModelSpec: TypeAlias = Annotated[
    LeNet5 | GridDetector | TorchvisionClassifier | TorchvisionDetector | TorchvisionSegmenter,
    Field(discriminator="kind"),
]
