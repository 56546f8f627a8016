"""Optimisers, and which parameters they act on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from export.training.config import Adam, AdamW, OptimizerSpec, RmsProp, Sgd
from pipelines.errors import RecipeError


def freeze(module: nn.Module, prefixes: Sequence[str]) -> None:
    """Stop the training of the parts whose names begin so; raises RecipeError for a beginning that none has.

    A beginning is one or more whole parts of a name: ``blocks.1`` is not that of ``blocks.10``.
    """
    names = [name for name, _ in module.named_parameters()]
    for prefix in prefixes:
        if not any(_begins(name, [prefix]) for name in names):
            heads = sorted({".".join(name.split(".")[:2]) for name in names})
            raise RecipeError(f"loop.freeze must begin parameter names, {prefix!r} begins none of {', '.join(heads)}")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not _begins(name, prefixes))


def train_mode(module: nn.Module, frozen: Sequence[str]) -> None:
    """Switch to training, but leave whole frozen parts in eval mode: their norms keep the statistics they have."""
    module.train()
    for name, part in module.named_modules():
        if name and _begins(name, frozen):
            part.eval()


def _begins(name: str, prefixes: Sequence[str]) -> bool:
    return f"{name}.".startswith(tuple(f"{prefix.rstrip('.')}." for prefix in prefixes))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trained parameters in two groups: those of two or more axes decay, biases and the gains of norms do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise RecipeError("loop.freeze must leave parameters to train, it leaves none")
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def make_optimizer(module: nn.Module, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """The optimiser of ``spec`` over the trained parameters of ``module``."""
    groups = [group for group in parameter_groups(module, spec.weight_decay) if group["params"]]
    match spec:
        case Sgd():
            return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov)
        case RmsProp():
            return torch.optim.RMSprop(groups, lr=spec.learning_rate, alpha=spec.alpha, momentum=spec.momentum)
        case Adam():
            return torch.optim.Adam(groups, lr=spec.learning_rate, betas=spec.betas)
        case AdamW():
            return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=spec.betas)
