"""Our YOLO-style detector: a backbone, a top-down neck, and anchor grids that ``yolo_grid`` decodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from export.nets.architecture import Architecture, image_spec
from export.nets.efficientnet_features import EfficientNetFeatures
from export.nets.specs import GridDetector
from export.subject import Sizes
from pipelines.errors import RecipeError
from pipelines.specs import DetectionHead, Fit, Letterbox, Nms, Pad, YoloGrid

BOX_AND_OBJECTNESS = 5
PRIOR = 0.01  # share of anchors that hold an object before training: RetinaNet's (arXiv:1708.02002, section 4.1).
_PAD_VALUE = 114


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(inplace=True),
        )


class Residual(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution added to their input, as in Darknet-53 (arXiv:1804.02767, table 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(ConvNorm(channels, channels // 2, kernel=1), ConvNorm(channels // 2, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, channels, H, W)`` to the same shape."""
        result: torch.Tensor = x + self.inner(x)
        return result


class ResidualFeatures(nn.Module):
    """``(N, 3, H, W)`` to one map a stride: our own backbone, residual blocks at every scale.

    Attributes:
        channels: of each stride's map.
    """

    def __init__(self, strides: Sequence[int], *, width: int, depth: int) -> None:
        super().__init__()
        self._strides = tuple(strides)
        levels = int(math.log2(strides[-1]))
        widths = [width * 2 ** min(level, 3) for level in range(levels)]  # at strides 2, 4, 8 ...
        # The first convolution halves the sides: at full resolution it would cost as much as all the others.
        self.stem = ConvNorm(3, widths[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvNorm(narrow, wide, stride=2), *(Residual(wide) for _ in range(depth)))
            for narrow, wide in pairwise(widths)
        )
        self.channels = [widths[int(math.log2(stride)) - 1] for stride in strides]

    def forward(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps, finest stride first."""
        x = self.stem(rows)
        features = []
        for level, stage in enumerate(self.stages, start=2):
            x = stage(x)
            if 2**level in self._strides:
                features.append(x)
        return features


class GridDetectorNet(nn.Module):
    """``(N, 3, H, W)``, sides multiples of the largest stride, to one map ``(N, A * (5 + C), h, w)`` a stride.

    Attributes of an anchor are tx, ty, tw, th, objectness, classes: all logits or as the box needs them before
    ``yolo_grid`` decodes them.
    """

    def __init__(
        self, backbone: ResidualFeatures | EfficientNetFeatures, *, anchors_per_scale: int, num_classes: int, width: int
    ) -> None:
        """``width``: most channels of the neck at the finest stride, twice as many at the next, and so on."""
        super().__init__()
        self.backbone = backbone
        at = [min(channels, width * 2**i) for i, channels in enumerate(backbone.channels)]
        self.inputs = nn.ModuleList(
            ConvNorm(deep, narrow, kernel=1) if deep != narrow else nn.Identity()
            for deep, narrow in zip(backbone.channels, at, strict=True)
        )
        self.laterals = nn.ModuleList(ConvNorm(deep, fine, kernel=1) for fine, deep in pairwise(at))
        self.merges = nn.ModuleList(ConvNorm(2 * fine, fine, kernel=1) for fine in at[:-1])
        attributes = anchors_per_scale * (BOX_AND_OBJECTNESS + num_classes)
        self.heads = nn.ModuleList(
            nn.Sequential(ConvNorm(channels, channels), nn.Conv2d(channels, attributes, 1)) for channels in at
        )
        self._start_rare(anchors_per_scale)

    def _start_rare(self, anchors_per_scale: int) -> None:
        """Let objectness begin at ``PRIOR``: else the many empty anchors are all that the first epochs teach."""
        for head in self.heads:
            assert isinstance(head, nn.Sequential)
            last = head[-1]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            nn.init.normal_(last.weight, std=0.01)
            with torch.no_grad():
                last.bias.zero_()
                last.bias.view(anchors_per_scale, -1)[:, BOX_AND_OBJECTNESS - 1] = -math.log((1 - PRIOR) / PRIOR)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Raw maps, finest stride first."""
        features = [narrow(x) for narrow, x in zip(self.inputs, self.backbone(rows), strict=True)]
        for i in reversed(range(len(features) - 1)):
            coarse = F.interpolate(self.laterals[i](features[i + 1]), scale_factor=2.0, mode="nearest")
            features[i] = self.merges[i](torch.cat((features[i], coarse), dim=1))
        return tuple(head(feature) for head, feature in zip(self.heads, features, strict=True))


def build(spec: GridDetector, num_classes: int) -> Architecture:
    """The detector with fresh weights; raises RecipeError where ``spec.anchors`` are not known yet."""
    if spec.anchors is None:
        raise RecipeError("model.anchors must be known before the model is built, got null")
    outputs = tuple(f"grid_{stride}" for stride in spec.strides)
    return Architecture(
        module=GridDetectorNet(
            _backbone(spec),
            anchors_per_scale=len(spec.anchors[0]),
            num_classes=num_classes,
            width=spec.width * 2 ** min(int(math.log2(spec.strides[0])) - 1, 3),
        ),
        image=image_spec(
            fit_of(spec), resample="opencv_linear", statistics="unit" if spec.backbone == "residual" else "symmetric"
        ),
        head=DetectionHead(
            task="detection",
            decoder=YoloGrid(
                kind="yolo_grid",
                outputs=outputs,
                strides=spec.strides,
                anchors=spec.anchors,
                anchor_unit="pixel",
                channel_order="chw",
                class_activation="sigmoid",
                objectness="sigmoid",
            ),
            score_threshold=spec.score_threshold,
            nms=Nms(kind="hard", iou_threshold=spec.nms_iou_threshold, class_agnostic=False, candidates=3000),
            max_detections=spec.max_detections,
        ),
        sizes=Sizes(multiple_of=spec.strides[-1], least=64),
    )


def _backbone(spec: GridDetector) -> ResidualFeatures | EfficientNetFeatures:
    if spec.backbone == "efficientnet_lite0":
        return EfficientNetFeatures(spec.strides)
    return ResidualFeatures(spec.strides, width=spec.width, depth=spec.depth)


def fit_of(spec: GridDetector) -> Fit:
    """How the image gets its size, which no anchor has a part in."""
    if spec.size_hw is None:
        return Pad(kind="pad", multiple_of=spec.strides[-1], pad_value=_PAD_VALUE, max_longer=spec.max_longer)
    return letterbox(spec.size_hw)


def letterbox(size_hw: tuple[int, int]) -> Letterbox:
    """The whole image, centred on grey."""
    return Letterbox(
        kind="letterbox",
        size_hw=size_hw,
        size_rounding="nearest",
        pad_value=_PAD_VALUE,
        pad_position="center",
        pad_rounding="floor",
        scale_up=True,
    )
