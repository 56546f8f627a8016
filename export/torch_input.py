"""Normalisation before a torch module, for packages whose graph normalises for itself."""

from __future__ import annotations

import torch
from torch import nn

from pipelines.specs import ImageSpec


class NormalizedInput(nn.Module):
    """Takes uint8 rows and hands ``module`` what ``pipelines.preprocess`` would have made of them.

    ``row = (pixels / scale - mean) / std``, in float64, rounded once to float32.
    """

    def __init__(self, module: nn.Module, image: ImageSpec, *, hwc: bool) -> None:
        """``image`` is the recipe of ``module`` itself; ``hwc`` says how the uint8 rows lie."""
        super().__init__()
        if image.scale == "image_max":
            raise ValueError("scale must be a number, got 'image_max'")
        self.inner = module
        self._hwc = hwc
        self._scale = float(image.scale)
        self._mean = torch.tensor(image.mean, dtype=torch.float64)[:, None, None]
        self._std = torch.tensor(image.std, dtype=torch.float64)[:, None, None]

    def forward(self, rows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run a batch of uint8 rows."""
        planes = rows.permute(0, 3, 1, 2) if self._hwc else rows
        values = (planes.to(torch.float64) / self._scale - self._mean) / self._std
        answer: torch.Tensor | tuple[torch.Tensor, ...] = self.inner(values.to(torch.float32))
        return answer
