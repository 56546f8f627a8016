"""What an embedder sees with: our own residual stages, and rows as published features want them."""

from __future__ import annotations

import torch
from torch import nn

_SPREAD = 0.5  # of the levels of photos on the published network's scale, which is from -1 to 1.


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


class ResidualStages(nn.Module):
    """``(N, channels, H, W)`` to one map ``(N, C, H / 2 ** stages, W / 2 ** stages)``.

    Attributes:
        channels: ``C`` of that map, twice as many for each stage after the first.
    """

    def __init__(self, channels: int, *, width: int, stages: int) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(stages)]
        self.channels = [widths[-1]]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.stages = nn.Sequential(
            *(Block(narrow, wide) for narrow, wide in zip((width, *widths), widths, strict=False))
        )

    def forward(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """The last stage's map, alone."""
        return [self.stages(self.stem(rows))]


class AsPhoto(nn.Module):
    """``(N, 1 or 3, H, W)`` of mean 0 and spread 1, to the three channels that published features were trained on."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W)``; grey rows fill all three channels."""
        return _SPREAD * rows.expand(-1, 3, -1, -1)
