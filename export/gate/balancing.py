"""Lets every class of a random segmenter win as many pixels: uncorrelated scores, then a bias for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_PIXELS_A_ROW = 1000  # as many of each row, whatever its size: shares are counted over images.
_STEPS = 200
_LEAST_DEVIATION = 1e-4  # of the largest; amplified by more, rounding would be what decides.


@torch.no_grad()
def balance_classes(module: nn.Module, batches: Sequence[torch.Tensor], layers: Sequence[str], *, gain: float) -> str:
    """Mix the output channels of ``layers`` in place until no class of the maps ``(N, C, h, w)`` dominates.

    Scores of a random network are nearly multiples of one another, and of such lines only the steepest two ever win.
    With mean ``m`` and covariance ``S`` of the scores, ``A = gain * S^(-1/2)`` gives uncorrelated ones of deviation
    ``gain`` (ZCA whitening: A. Bell and T. Sejnowski, 1997): ``W' = A W`` and ``b' = A b`` in each layer, whose outputs
    must reach the maps by sums and interpolation alone, and ``-A m`` and the balance in the last one's bias.

    Returns what was done, one line. Raises TypeError for a layer that is no convolution.
    """
    values = _scores(module, batches)
    mean = values.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(values.T))
    deviations = variances.clamp_min(0).sqrt()
    deviations = deviations.clamp_min(_LEAST_DEVIATION * float(deviations[-1]) + 1e-12)
    mix = gain * directions / deviations @ directions.T
    bias = _fair_bias(((values - mean) @ mix).numpy(), gain / 4)
    for name in layers:
        layer = module.get_submodule(name)
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"{name} must be a Conv2d, it is a {type(layer).__name__}")
        layer.weight.copy_(torch.tensordot(mix, layer.weight.double(), dims=1))
        old = torch.zeros(len(mean)) if layer.bias is None else layer.bias
        last = bias - mix @ mean if name == layers[-1] else torch.zeros_like(mean)
        layer.bias = nn.Parameter((mix @ old.double() + last).float())
    spread = float(deviations[-1] / deviations[0])
    return (
        f"{' + '.join(layers)}: classes uncorrelated (deviations were 1 to {spread:.3g}), gain {gain:g}, "
        f"bias of each moved by up to {float(bias.abs().max()):.3g} so that all win as many pixels"
    )


def _scores(module: nn.Module, batches: Sequence[torch.Tensor]) -> torch.Tensor:
    """Scores ``(M, C)`` in float64, the same number of pixels of each row."""
    parts = []
    for batch in batches:
        pixels = module(batch).flatten(2).transpose(1, 2)  # (N, h * w, C)
        chosen = torch.linspace(0, pixels.shape[1] - 1, _PIXELS_A_ROW).round().long()
        parts.append(pixels[:, chosen].flatten(0, 1))
    return torch.cat(parts).double()


def _fair_bias(values: NDArray[np.float64], rate: float) -> torch.Tensor:
    """Bias ``(C)`` under which each column of ``(M, C)`` is the largest as often, nearly.

    Who wins too often is lowered by the logarithm of how much, times a ``rate`` that shrinks to nothing.
    """
    classes = values.shape[1]
    bias = np.zeros(classes)
    for step in range(_STEPS):
        wins = np.bincount((values + bias).argmax(1), minlength=classes) / len(values)
        bias -= rate * (1 - step / _STEPS) * np.log(wins * classes + 0.01).clip(-2, 2)
    return torch.from_numpy(bias - bias.mean())
