"""Segmenters of torchvision by name: DeepLabV3 (dilated), FCN, LR-ASPP."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import segmentation

from export.nets.architecture import Architecture, image_spec
from export.nets.specs import TorchvisionSegmenter
from pipelines.specs import SegmentationHead, Stretch

OUTPUT = "logits"


class SegmenterNet(nn.Module):
    """``(N, 3, H, W)`` to ``(N, num_classes, H, W)`` logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of every pixel, before softmax."""
        logits: torch.Tensor = self.net(rows)["out"]
        return logits


def build(spec: TorchvisionSegmenter, num_classes: int) -> Architecture:
    """A segmenter with fresh weights and no auxiliary head; class 0 is the background."""
    options = {} if spec.name.startswith("lraspp") else {"aux_loss": False}
    net = getattr(segmentation, spec.name)(weights=None, weights_backbone=None, num_classes=num_classes, **options)
    return Architecture(
        module=SegmenterNet(net),
        image=image_spec(Stretch(kind="stretch", size_hw=spec.size_hw), resample="pil_bilinear", statistics="imagenet"),
        head=SegmentationHead(
            task="segmentation", output=OUTPUT, activation="softmax", threshold=0.5, mask_resample="opencv_linear"
        ),
    )
