"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from export.training.ema import Ema


def test_the_average_follows_the_formula_and_buffers_are_copied() -> None:
    net = nn.BatchNorm1d(1)
    ema, average = Ema(net, 0.5), 1.0
    for step, value in enumerate((3.0, 5.0, -1.0), start=1):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(value)  # type: ignore[union-attr]
        ema.update(net)
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
    assert float(ema.module.weight) == pytest.approx(average)  # type: ignore[arg-type]
    assert float(ema.module.running_mean) == -1  # type: ignore[arg-type]


def test_the_average_is_not_trained_and_leaves_the_module_alone() -> None:
    net = nn.Linear(2, 2)
    ema = Ema(net, 0.9)
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
