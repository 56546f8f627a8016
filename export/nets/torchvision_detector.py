"""Detectors of torchvision by name: trained by their own losses, exported as heads that our decoders read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from export.nets.architecture import Architecture, image_spec
from export.nets.grid_detector import letterbox
from export.nets.specs import TorchvisionDetector
from export.nets.two_stage import PROPOSALS, FasterRcnnNet
from pipelines.specs import BoxDelta, Decoder, DefaultBoxes, DefaultLevel, DetectionHead, Fcos, Nms, SizedAnchors
from pipelines.specs.anchors import SizedLevel

Targets = Sequence[Mapping[str, torch.Tensor]]
LOG_LIMIT = math.log(1000 / 16)  # torchvision's largest dw and dh.
_PYRAMID = (8, 16, 32, 64, 128)


class AsTheyAre(nn.Module):
    """In place of torchvision's own resize and normalisation: our rows have gone through ``pipelines`` already."""

    def forward(self, rows: Sequence[torch.Tensor], targets: Targets | None) -> tuple[ImageList, Targets | None]:
        """Rows ``(C, H, W)`` of one size as torchvision's image list."""
        batch = torch.stack(tuple(rows))
        return ImageList(batch, [(batch.shape[2], batch.shape[3])] * len(batch)), targets

    def postprocess(self, found: Any, row_sizes: Any, image_sizes: Any) -> Any:
        """What torchvision asks for after its own decoding, which is empty while it trains."""
        return found


class OneStageNet(nn.Module):
    """``(N, 3, H, W)`` to the raw outputs of the head, in the order of ``outputs``; losses where targets are given."""

    def __init__(self, net: Any, outputs: tuple[str, ...]) -> None:
        super().__init__()
        net.transform = AsTheyAre()
        self.net = net
        self.outputs = outputs

    def forward(self, rows: torch.Tensor, targets: Targets | None = None) -> Any:
        """Raw outputs; or, in training mode with ``targets`` (``boxes``, ``labels``), losses by name."""
        if targets is not None:
            return self.net(list(rows), targets)
        raw = self.net.head(list(self.net.backbone(rows).values()))
        return tuple(raw[name] for name in self.outputs)


def _retinanet(num_classes: int) -> tuple[nn.Module, Decoder]:
    net = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=num_classes)
    sizes = [(x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512)]
    anchors = SizedAnchors(
        kind="sized",
        levels=tuple(
            SizedLevel(stride=stride, sizes=of_level, aspect_ratios=(0.5, 1.0, 2.0))
            for stride, of_level in zip(_PYRAMID, sizes, strict=True)
        ),
        order="ratio_major",
        rounding="half_even",
        center_shift=0.0,
        step="spread_floor",
    )
    decoder = BoxDelta(
        kind="box_delta",
        classes="cls_logits",
        deltas="bbox_regression",
        proposals=None,
        anchors=anchors,
        deltas_per="anchor",
        weights=(1.0, 1.0, 1.0, 1.0),
        max_log_scale=LOG_LIMIT,
        class_activation="sigmoid",
        background="none",
        clip_to_row=True,
        min_side=0.0,
    )
    return OneStageNet(net, decoder.output_names), decoder


def _ssdlite(num_classes: int) -> tuple[nn.Module, Decoder]:
    net = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=num_classes + 1)
    anchors = DefaultBoxes(
        kind="default_boxes",
        levels=tuple(DefaultLevel(stride=s, aspect_ratios=(2.0, 3.0)) for s in (16, 32, 64, 128, 256, 512)),
        scales=(*(0.2 + 0.75 * k / 5 for k in range(6)), 1.0),
        clip=True,
        step="spread",
    )
    decoder = BoxDelta(
        kind="box_delta",
        classes="cls_logits",
        deltas="bbox_regression",
        proposals=None,
        anchors=anchors,
        deltas_per="anchor",
        weights=(10.0, 10.0, 5.0, 5.0),
        max_log_scale=LOG_LIMIT,
        class_activation="softmax",
        background="first",
        clip_to_row=True,
        min_side=0.0,
    )
    return OneStageNet(net, decoder.output_names), decoder


def _fcos(num_classes: int) -> tuple[nn.Module, Decoder]:
    net = detection.fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=num_classes)
    decoder = Fcos(
        kind="fcos",
        classes="cls_logits",
        distances="bbox_regression",
        centerness="bbox_ctrness",
        strides=_PYRAMID,
        step="spread_floor",
        center_shift=0.0,
        distance_unit="stride",
        score="geometric_mean",
        clip_to_row=True,
    )
    return OneStageNet(net, decoder.output_names), decoder


def _faster_rcnn(num_classes: int) -> tuple[nn.Module, Decoder]:
    net = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=num_classes + 1)
    net.transform = AsTheyAre()
    decoder = BoxDelta(
        kind="box_delta",
        classes="class_logits",
        deltas="box_regression",
        proposals=PROPOSALS,
        anchors=None,
        deltas_per="column",
        weights=(10.0, 10.0, 5.0, 5.0),
        max_log_scale=LOG_LIMIT,
        class_activation="softmax",
        background="first",
        clip_to_row=True,
        min_side=0.01,
    )
    return FasterRcnnNet(net), decoder


DETECTORS: Mapping[str, Callable[[int], tuple[nn.Module, Decoder]]] = {
    "fasterrcnn_resnet50_fpn": _faster_rcnn,
    "fcos_resnet50_fpn": _fcos,
    "retinanet_resnet50_fpn": _retinanet,
    "ssdlite320_mobilenet_v3_large": _ssdlite,
}


def build(spec: TorchvisionDetector, num_classes: int) -> Architecture:
    """A detector with fresh weights for ``num_classes`` classes, the background not counted."""
    module, decoder = DETECTORS[spec.name](num_classes)
    ssdlite = spec.name.startswith("ssdlite")
    size_hw = spec.size_hw or ((320, 320) if ssdlite else (640, 640))
    return Architecture(
        module=module,
        # torchvision trained SSDLite on -1 to 1 and the others on ImageNet's statistics.
        image=image_spec(
            letterbox(size_hw), resample="opencv_linear", statistics="symmetric" if ssdlite else "imagenet"
        ),
        head=DetectionHead(
            task="detection",
            decoder=decoder,
            score_threshold=spec.score_threshold,
            nms=Nms(kind="hard", iou_threshold=spec.nms_iou_threshold, class_agnostic=False, candidates=3000),
            max_detections=spec.max_detections,
        ),
    )
