"""Our face embedder: one small residual network, run on both images of a pair, whose vectors are compared."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from export.nets.architecture import Architecture, image_spec
from export.nets.embedding_heads import ClassCosines, PairLogits
from export.nets.specs import EmbeddingNet
from pipelines.specs import EmbeddingHead, Stretch

OUTPUT = "embedding"


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, normalised before they act (arXiv:1603.05027, figure 1b)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / 2, W / 2)``."""
        result: torch.Tensor = self.inner(x) + self.shortcut(x)
        return result


class TwinNet(nn.Module):
    """``(N, C, H, W)`` to ``(N, dim)`` vectors of length 1; both images of a pair go through the same weights.

    The last map is flattened and not averaged, since where something lies in a face says who it is (arXiv:1801.07698,
    section 3.1: BN, dropout, fully connected, BN). While it trains with a head, that head's answer comes second.
    """

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        stages: int,
        size_hw: tuple[int, int],
        dim: int,
        dropout: float,
        head: nn.Module | None,
    ) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(stages)]
        cells = (size_hw[0] // 2**stages) * (size_hw[1] // 2**stages)
        self.even = nn.InstanceNorm2d(channels)  # light and contrast of a photo say nothing of whom it shows.
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.stages = nn.Sequential(
            *(Block(narrow, wide) for narrow, wide in zip((width, *widths), widths, strict=False))
        )
        self.vector = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(widths[-1] * cells, dim, bias=False),
            nn.BatchNorm1d(dim),
        )
        self.head = head

    def forward(self, rows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Vectors, with the answer of the head in training mode where there is one."""
        vectors = F.normalize(self.vector(self.stages(self.stem(self.even(rows)))))
        if self.head is None or not self.training:
            return vectors
        return vectors, self.head(vectors)


def build(spec: EmbeddingNet, num_classes: int) -> Architecture:
    """The embedder with fresh weights; ``num_classes`` are the identities of training, for a head that knows them."""
    heads = {"none": None, "pairs": PairLogits(spec.dim), "classes": ClassCosines(spec.dim, num_classes)}
    return Architecture(
        module=TwinNet(
            channels=1 if spec.color == "gray" else 3,
            width=spec.width,
            stages=spec.stages,
            size_hw=spec.size_hw,
            dim=spec.dim,
            dropout=spec.dropout,
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
