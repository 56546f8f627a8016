"""EfficientNet-Lite0 as a torch module: inverted residuals with ReLU6, no squeeze-and-excitation (arXiv:1905.11946)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pipelines.errors import RecipeError

NORM_EPS = 1e-3  # TensorFlow's default, which the weights were trained with; torch's is 1e-5.


@dataclass(frozen=True)
class Stage:
    """``repeats`` blocks of equal width; only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
CLASSES = 1000
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class ConvNorm(nn.Module):
    """Convolution padded as TensorFlow's SAME for even sizes, batch norm, ReLU6 unless ``activate`` is off."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        # SAME on an even size: kernel - stride in all, the smaller part before. Symmetric padding would shift the grid.
        total = max(kernel - stride, 0)
        before = total // 2
        self.pad = nn.ZeroPad2d((before, total - before, before, total - before))
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS)
        self.activation = nn.ReLU6() if activate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        result: torch.Tensor = self.activation(self.norm(self.conv(self.pad(x))))
        return result


class Block(nn.Module):
    """Expand, filter each channel, project; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expand = ConvNorm(inputs, inner) if expand > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.project = ConvNorm(inner, outputs, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        y: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """``(N, 3, H, W)`` with H and W multiples of 32, to ``(N, 1000)`` logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2)
        blocks, width = [], STEM_CHANNELS
        for stage in STAGES:
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                blocks.append(Block(width, stage.channels, kernel=stage.kernel, stride=stride, expand=stage.expand))
                width = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(width, HEAD_CHANNELS)
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, before softmax."""
        features = self.head(self.blocks(self.stem(x)))
        logits: torch.Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


# Names of the published weights, and ours. Inside a block the norms are numbered by the convolution that they follow.
_TOP = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def from_published(weights: Mapping[str, torch.Tensor]) -> EfficientNetLite0:
    """The network in eval mode with the published weights, every one of them used; raises RecipeError."""
    model = EfficientNetLite0()
    try:
        model.load_state_dict({_rename(key): value for key, value in weights.items()}, strict=True)
    except (KeyError, RuntimeError) as error:
        raise RecipeError(
            f"the weights are not those of EfficientNet-Lite0: {' '.join(str(error).split())[:300]}"
        ) from error
    return model.eval()


def _rename(key: str) -> str:
    parts = key.split(".")
    if parts[0] == "_blocks":
        return ".".join(["blocks", parts[1], _BLOCK[parts[2]], *parts[3:]])
    return ".".join([_TOP[parts[0]], *parts[1:]])
