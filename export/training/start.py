"""Starting from weights that were trained before: what fits by name and shape is taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.training.checkpoint import read_tensors
from pipelines.errors import RecipeError


def start_from(module: nn.Module, path: Path) -> str:
    """Copy weights of a file into ``module`` and say how many fitted.

    The file is a ``model.pt`` of ours or a state dict; torchvision's own fit a classifier of its name (their last layer
    stays behind where the classes differ). It is read as tensors alone, never executed.

    Raises:
        RecipeError: the file cannot be read, or nothing in it fits.
    """
    raw = read_tensors(path)
    given = _weights(raw)
    own = module.state_dict()
    fitting = {}
    for name, value in given.items():
        for candidate in (name, f"net.{name}"):  # a torchvision model is the ``net`` of ours.
            if candidate in own and own[candidate].shape == value.shape:
                fitting[candidate] = value
    if not fitting:
        raise RecipeError(f"weights must fit the model by name and shape, none of the {len(given)} in {path} does")
    module.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors start from {path}"


def _weights(raw: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    inner = raw.get("weights", raw.get("state_dict", raw))
    return {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
