"""LeNet-5 for grey rows of 32 x 32 (Proceedings of the IEEE 86(11), 1998, figure 2), with ReLU and max pooling."""

from __future__ import annotations

import torch
from torch import nn

from export.nets.architecture import Architecture, image_spec
from export.nets.specs import LeNet5
from pipelines.specs import ClassificationHead, Stretch

OUTPUT = "logits"
SIZE_HW = (32, 32)


class LeNet5Net(nn.Module):
    """``(N, 1, 32, 32)`` to ``(N, num_classes)`` logits: two convolutions with pooling, three linear layers.

    The paper's layer widths 6, 16, 120, 84 are kept. Batch norm, ReLU and max pooling stand where it has scaled tanh
    and trainable subsampling.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits, before softmax."""
        logits: torch.Tensor = self.head(self.features(rows))
        return logits


def build(spec: LeNet5, num_classes: int) -> Architecture:
    """LeNet-5 with fresh weights; the image is stretched to 32 x 32 grey pixels, -1 to 1."""
    return Architecture(
        module=LeNet5Net(num_classes),
        image=image_spec(
            Stretch(kind="stretch", size_hw=SIZE_HW), resample="opencv_linear", statistics="symmetric", color="gray"
        ),
        head=classification_head(num_classes),
    )


def classification_head(num_classes: int) -> ClassificationHead:
    """Softmax over the logits of one output, the best five answered."""
    return ClassificationHead(
        task="classification",
        output=OUTPUT,
        activation="softmax",
        temperature=1.0,
        score_threshold=None,
        top_k=min(5, num_classes),
    )
