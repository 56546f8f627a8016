"""Segmenters of torchvision by name: DeepLabV3 (dilated), FCN, LR-ASPP."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models

from export.nets.architecture import Architecture, image_spec
from export.nets.specs import TorchvisionSegmenter
from export.subject import Sizes
from export.tolerance import golden_tolerance
from pipelines.manifest import RawTolerance
from pipelines.specs import SegmentationHead, Stretch

OUTPUT = "logits"
TOLERANCE = golden_tolerance(
    reason="same network in float32: pixels whose two best classes tie may change sides",
    # Logits below 20 after some 60 layers, then an interpolation whose weights are rounded in another order.
    cpu=RawTolerance(rtol=1e-3, atol=2e-3),
)


class SegmenterNet(nn.Module):
    """``(N, 3, H, W)`` to ``(N, num_classes, H, W)`` logits of the main head."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of every pixel, before softmax."""
        logits: torch.Tensor = self.net(rows)["out"]
        return logits


def build(spec: TorchvisionSegmenter, num_classes: int, *, auxiliary: bool = False) -> Architecture:
    """A segmenter with fresh weights; class 0 is the background.

    ``auxiliary``: with the auxiliary head that torchvision's files have weights for, and nothing here uses.
    """
    options = {} if spec.name.startswith("lraspp") else {"aux_loss": auxiliary}
    net = models.get_model(spec.name, weights=None, weights_backbone=None, num_classes=num_classes, **options)
    return Architecture(
        module=SegmenterNet(net).eval(),
        # Stretched, so that images of any shape batch.
        image=image_spec(Stretch(kind="stretch", size_hw=spec.size_hw), resample="pil_bilinear", statistics="imagenet"),
        head=SegmentationHead(
            task="segmentation", output=OUTPUT, activation="softmax", threshold=0.5, mask_resample="opencv_linear"
        ),
        sizes=Sizes(multiple_of=1, least=64),
        tolerance=TOLERANCE,
    )
