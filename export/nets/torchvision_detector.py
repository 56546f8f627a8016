"""Detectors of torchvision by name: trained by their own losses, exported as heads that our decoders read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.detection.image_list import ImageList

from export.nets import torchvision_decoders as decoders
from export.nets.architecture import Architecture, image_spec
from export.nets.specs import TorchvisionDetector
from export.nets.two_stage import FasterRcnnNet
from export.subject import Sizes
from export.tolerance import golden_tolerance
from pipelines.manifest import RawTolerance
from pipelines.specs import Decoder, DetectionHead, Fit, Letterbox, Nms, Stretch

Targets = Sequence[Mapping[str, torch.Tensor]]
TOLERANCE = golden_tolerance(
    reason="same network in float32: scores within 0.002, boxes within 1 % of their overlap",
    # Logits up to 30 after some 60 layers, each summed in another order than torch's.
    cpu=RawTolerance(rtol=1e-3, atol=5e-3),
    box_iou=0.99,
)


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
        self.net = net
        self.outputs = outputs

    def forward(self, rows: torch.Tensor, targets: Targets | None = None) -> Any:
        """Raw outputs; or, in training mode with ``targets`` (``boxes``, ``labels``), losses by name."""
        if targets is not None:
            return self.net(list(rows), targets)
        raw = self.net.head(list(self.net.backbone(rows).values()))
        return tuple(raw[name] for name in self.outputs)


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between torchvision's detectors.

    Attributes:
        decoder: reads the raw outputs; made from the network, whose anchors it takes over.
        background: whether the network's first class is none.
        two_stages: whether proposals are looked at once more.
        side: of the square row where none is chosen, in pixels.
        stretched: the image is stretched into the row, as SSDLite was trained; else letterboxed.
        statistics: of the rows, by name.
    """

    decoder: Callable[[Any], Decoder]
    background: bool = False
    two_stages: bool = False
    side: int = 640
    stretched: bool = False
    statistics: str = "imagenet"


FAMILIES: Mapping[str, Family] = {
    "fasterrcnn": Family(decoder=decoders.faster_rcnn, background=True, two_stages=True),
    "fcos": Family(decoder=decoders.fcos),
    "retinanet": Family(decoder=decoders.retinanet),
    "ssdlite320": Family(decoder=decoders.ssdlite, background=True, side=320, stretched=True, statistics="symmetric"),
}


def family_of(name: str) -> Family:
    """The family of one of torchvision's names."""
    return FAMILIES[name.split("_", maxsplit=1)[0]]


def build(spec: TorchvisionDetector, num_classes: int) -> Architecture:
    """A detector with fresh weights for ``num_classes`` classes, a background not counted."""
    family = family_of(spec.name)
    classes = num_classes + 1 if family.background else num_classes
    net = models.get_model(spec.name, weights=None, weights_backbone=None, num_classes=classes)
    net.transform = AsTheyAre()
    decoder = family.decoder(net)
    module = FasterRcnnNet(net) if family.two_stages else OneStageNet(net, decoder.output_names)
    return Architecture(
        module=module.eval(),
        image=image_spec(
            _fit(spec.size_hw or (family.side, family.side), family),
            resample="torch_bilinear",
            statistics=family.statistics,
        ),
        head=DetectionHead(
            task="detection",
            decoder=decoder,
            score_threshold=spec.score_threshold,
            nms=Nms(kind="hard", iou_threshold=spec.nms_iou_threshold, class_agnostic=False, candidates=3000),
            max_detections=spec.max_detections,
        ),
        sizes=Sizes(multiple_of=32, least=96),
        tolerance=TOLERANCE,
    )


def _fit(size_hw: tuple[int, int], family: Family) -> Fit:
    if family.stretched:
        return Stretch(kind="stretch", size_hw=size_hw)
    # At the top left, as torchvision batches; 116 is near the mean colour, which is what its padding is.
    return Letterbox(
        kind="letterbox",
        size_hw=size_hw,
        size_rounding="floor",
        pad_value=116,
        pad_position="top_left",
        pad_rounding=None,
        scale_up=True,
    )
