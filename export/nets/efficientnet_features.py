"""EfficientNet-Lite0 as a backbone: its feature maps at several strides, and how its published weights fit in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

from export.zoo.efficientnet_lite0_net import STAGES, EfficientNetLite0


def _taps() -> Mapping[int, tuple[int, int]]:
    """By stride: the last block that works at it, and its channels."""
    found, stride, last = {}, 2, -1
    for stage in STAGES:
        stride, last = stride * stage.stride, last + stage.repeats
        found[stride] = (last, stage.channels)
    return MappingProxyType(found)


TAPS = _taps()


class EfficientNetFeatures(nn.Module):
    """``(N, 3, H, W)``, sides multiples of the largest stride, to one map ``(N, C, H / stride, W / stride)`` a stride.

    It is built no deeper than the largest stride needs.

    Attributes:
        channels: ``C`` of each stride.
    """

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.channels = [TAPS[stride][1] for stride in strides]
        self._last = [TAPS[stride][0] for stride in strides]
        whole = EfficientNetLite0()
        self.stem = whole.stem
        self.blocks = whole.blocks[: self._last[-1] + 1]

    def forward(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps, finest stride first."""
        x = self.stem(rows)
        found = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self._last:
                found.append(x)
        return found


def published_weights(model: EfficientNetLite0, prefix: str) -> dict[str, torch.Tensor]:
    """The weights of a whole network as a backbone called ``prefix`` names its own; those it lacks come along."""
    return {f"{prefix}.{name}": value for name, value in model.state_dict().items()}
