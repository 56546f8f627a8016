"""A moving average of the weights, which is steadier than any step of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn


class Ema:
    """Keeps ``average = d * average + (1 - d) * weights`` after every step; buffers (norm statistics) are copied.

    ``d = min(decay, (1 + n) / (10 + n))`` after ``n`` steps, so that the first weights are soon forgotten (as
    TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval()
        self.module.requires_grad_(False)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights of one more step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for mine, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(theirs.detach(), 1 - decay)
        for kept, current in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(current)

    def state_dict(self) -> dict[str, object]:
        """Tensors and numbers to resume from."""
        return {"steps": self._steps, "weights": self.module.state_dict()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.module.load_state_dict(state["weights"])  # type: ignore[arg-type]
        self._steps = int(state["steps"])  # type: ignore[call-overload]
