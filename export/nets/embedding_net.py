"""Our face embedder: one small network, run on both images of a pair, whose vectors are compared."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from export.nets.architecture import Architecture, image_spec
from export.nets.efficientnet_features import EfficientNetFeatures
from export.nets.embedding_backbones import AsPhoto, ResidualStages
from export.nets.embedding_heads import ClassCosines, PairLogits
from export.nets.specs import EmbeddingNet
from pipelines.specs import EmbeddingHead, Stretch

OUTPUT = "embedding"


class TwinNet(nn.Module):
    """``(N, C, H, W)`` to ``(N, dim)`` vectors of length 1; both images of a pair go through the same weights.

    The last map is flattened and not averaged as a whole, since where something lies in a face says who it is
    (arXiv:1801.07698, section 3.1: BN, dropout, fully connected, BN). While it trains with a head, that head's answer
    comes second.
    """

    def __init__(
        self,
        backbone: ResidualStages | EfficientNetFeatures,
        *,
        color_channels: int,
        cells: int,
        spec: EmbeddingNet,
        head: nn.Module | None,
    ) -> None:
        """``cells``: of the backbone's map, once neighbours are averaged."""
        super().__init__()
        self.even = nn.InstanceNorm2d(color_channels)  # light and contrast of a photo say nothing of whom it shows.
        self.show = AsPhoto() if isinstance(backbone, EfficientNetFeatures) else nn.Identity()
        self.backbone = backbone
        self.mirrored = spec.mirrored
        self.average = nn.AvgPool2d(spec.average) if spec.average > 1 else nn.Identity()
        self.scale = nn.BatchNorm2d(backbone.channels[0])
        self.dropout = nn.Dropout(spec.dropout)
        self.project = nn.Linear(backbone.channels[0] * cells, spec.dim, bias=False)
        self.norm = nn.BatchNorm1d(spec.dim)
        self.head = head

    def maps(self, rows: torch.Tensor) -> torch.Tensor:
        """``(N, channels, h, w)``: what the backbone sees, averaged; in a mirrored network of both ways round."""
        shown = self.show(self.even(rows))
        (seen,) = self.backbone(shown)
        if self.mirrored:
            seen = (seen + self.backbone(shown.flip(-1))[0]) / 2
        result: torch.Tensor = self.average(seen)
        return result

    def forward(self, rows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Vectors, with the answer of the head in training mode where there is one."""
        flat = self.dropout(self.scale(self.maps(rows))).flatten(1)
        vectors = F.normalize(self.norm(self.project(flat)))
        if self.head is None or not self.training:
            return vectors
        return vectors, self.head(vectors)


def build(spec: EmbeddingNet, num_classes: int) -> Architecture:
    """The embedder with fresh weights; ``num_classes`` are the identities of training, for a head that knows them."""
    heads = {"none": None, "pairs": PairLogits(spec.dim), "classes": ClassCosines(spec.dim, num_classes)}
    color_channels = 1 if spec.color == "gray" else 3
    backbone = _backbone(spec, color_channels)
    cell = spec.average * 2**spec.stages
    return Architecture(
        module=TwinNet(
            backbone,
            color_channels=color_channels,
            cells=(spec.size_hw[0] // cell) * (spec.size_hw[1] // cell),
            spec=spec,
            head=heads[spec.head],
        ),
        image=image_spec(
            Stretch(kind="stretch", size_hw=spec.size_hw),
            resample="opencv_linear",
            statistics="symmetric",
            color=spec.color,
        ),
        head=EmbeddingHead(task="embedding", output=OUTPUT, dim=spec.dim, normalize=True),
    )


def _backbone(spec: EmbeddingNet, color_channels: int) -> ResidualStages | EfficientNetFeatures:
    if spec.backbone == "efficientnet_lite0":
        return EfficientNetFeatures((2**spec.stages,))
    return ResidualStages(color_channels, width=spec.width, stages=spec.stages)
