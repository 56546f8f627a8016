"""Makes random weights answer something: without it all scores are alike, and any export of them would agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from export.gate.balancing import balance_classes
from export.subject import Scaling

GAIN = 4.0
SIDE_GAIN, SIDE_CENTER = 0.5, 2.0  # strides from a point to a side: boxes of some four strides.
BACKGROUND = 2.5 * GAIN  # the largest of 90 normal values is about 2.5 deviations up: few classes reach the background.


@torch.no_grad()
def settle_batch_norm(module: nn.Module, batches: Sequence[torch.Tensor]) -> int:
    """Let batch-norm's running statistics be those of ``batches``; returns how many layers there are.

    A new network's are mean 0 and variance 1, which its activations do not have: deep ones vanish or overflow.
    """
    layers = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return 0
    momenta = [layer.momentum for layer in layers]
    module.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over what is seen.
        layer.train()
    try:
        for batch in batches:
            module(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        module.eval()
    return len(layers)


@torch.no_grad()
def scale_last_layers(module: nn.Module, batches: Sequence[torch.Tensor], scaling: Scaling) -> tuple[str, ...]:
    """Scale layers (convolution or linear) in place so that each of their channels has mean 0 and deviation ``GAIN``.

    ``W' = W * g / s`` and ``b' = (b - m) * g / s`` per output channel, with ``m`` and ``s`` measured over ``batches``.
    Then the bias is moved, by the same for all channels, until ``confident`` values a row are above ``level``: a
    detector's few confident places; and that of the background is raised. Layers that make maps are balanced instead.
    Returns what was done, one line a layer.
    """
    if scaling.balanced:
        return (balance_classes(module, batches, scaling.layers, gain=GAIN),)
    rows = sum(len(batch) for batch in batches)
    done = [_standardise(module, batches, name, gain=SIDE_GAIN, center=SIDE_CENTER)[1] for name in scaling.sides]
    for name in scaling.layers:
        scaled, text = _standardise(module, batches, name, gain=GAIN, center=0.0)
        bias = module.get_submodule(name).bias
        assert isinstance(bias, torch.Tensor)
        shift = 0.0
        if scaling.confident is not None:
            scaled = scaled.flatten()
            count = min(scaling.confident * rows, len(scaled))
            shift = scaling.level - float(scaled.kthvalue(len(scaled) - count + 1).values)
            bias.add_(shift)
        if scaling.background is not None:
            columns, index = scaling.background
            bias[index::columns] += BACKGROUND
        done.append(f"{text}, shift {shift:.3g}")
    return tuple(done)


def _standardise(
    module: nn.Module, batches: Sequence[torch.Tensor], name: str, *, gain: float, center: float
) -> tuple[torch.Tensor, str]:
    """Give each channel of a layer a mean and deviation; returns its values ``(M, C)`` now, and what was done.

    Raises TypeError for a layer that is neither a convolution nor linear.
    """
    layer = module.get_submodule(name)
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise TypeError(f"{name} must be a Conv2d or Linear, it is a {type(layer).__name__}")
    drawn = _draw_where_zero(layer)
    with _recorded(layer) as seen:
        for batch in batches:
            module(batch)
    values = torch.cat([one.movedim(1, -1).reshape(-1, one.shape[1]) for one in _channels_second(layer, seen)])
    mean, deviation = values.mean(0), values.std(0).clamp_min(1e-12)
    factor = gain / deviation
    layer.weight.mul_(factor.reshape((-1,) + (1,) * (layer.weight.dim() - 1)))
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(mean)))
    layer.bias.sub_(mean).mul_(factor).add_(center)
    text = f"{name}: {'weights were 0 and are drawn, ' if drawn else ''}gain {float(factor.median()):.3g}"
    return (values - mean) * factor + center, f"{text} (median of channels)"


def _draw_where_zero(layer: nn.Conv2d | nn.Linear) -> bool:
    """Give a layer that starts at zero, as a vision transformer's last one does, weights from a normal distribution."""
    if layer.weight.any():
        return False
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    return True


@contextmanager
def _recorded(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    try:
        yield seen
    finally:
        hook.remove()


def _channels_second(layer: nn.Module, seen: list[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs ``(N, C, ...)``: a linear layer has its channels last."""
    return [one.movedim(-1, 1) if isinstance(layer, nn.Linear) else one for one in seen]
