"""U-Net for masks of any size: halved and doubled again, each scale joined to its own finer picture."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from export.nets.architecture import Architecture, image_spec
from export.nets.specs import UNet
from export.subject import Sizes
from pipelines.specs import Fit, Pad, SegmentationHead, Stretch

OUTPUT = "logits"


class TwoConvolutions(nn.Sequential):
    """Two 3 x 3 convolutions that keep the size, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNetNet(nn.Module):
    """``(N, C, H, W)``, sides multiples of ``2 ** levels``, to ``(N, num_classes, H, W)`` logits (arXiv:1505.04597).

    Maps are doubled by transposed convolutions of 2 x 2. Convolutions are padded, so that the masks are as large as the
    rows, and normalised, which the paper's are not.
    """

    def __init__(self, *, channels: int, width: int, levels: int, num_classes: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        scales = list(pairwise(widths))
        self.first = TwoConvolutions(channels, width)
        self.down = nn.ModuleList(TwoConvolutions(fine, coarse) for fine, coarse in scales)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.joins = nn.ModuleList(TwoConvolutions(2 * fine, fine) for fine in widths[:-1])
        self.logits = nn.Conv2d(width, num_classes, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of every pixel, before softmax."""
        maps = [self.first(rows)]
        for block in self.down:
            maps.append(block(self.pool(maps[-1])))
        x = maps.pop()
        for enlarge, join, finer in zip(reversed(self.upsample), reversed(self.joins), reversed(maps), strict=True):
            x = join(torch.cat((finer, enlarge(x)), dim=1))
        logits: torch.Tensor = self.logits(x)
        return logits


def build(spec: UNet, num_classes: int) -> Architecture:
    """The network with fresh weights; class 0 is the background."""
    return Architecture(
        module=UNetNet(
            channels=1 if spec.color == "gray" else 3, width=spec.width, levels=spec.levels, num_classes=num_classes
        ),
        image=image_spec(_fit(spec), resample="opencv_linear", statistics="symmetric", color=spec.color),
        head=SegmentationHead(
            task="segmentation", output=OUTPUT, activation="softmax", threshold=0.5, mask_resample="opencv_linear"
        ),
        sizes=Sizes(multiple_of=2**spec.levels, least=64),
    )


def _fit(spec: UNet) -> Fit:
    if spec.size_hw is not None:
        return Stretch(kind="stretch", size_hw=spec.size_hw)
    return Pad(kind="pad", multiple_of=2**spec.levels, pad_value=spec.pad_value, max_longer=spec.max_longer)
