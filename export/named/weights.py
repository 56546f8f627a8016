"""Weights of a torchvision model from a file: strictly its own, with norms that mean what they meant there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from torch import nn
from torchvision import models

from export.subject import Subject
from export.training.checkpoint import read_tensors
from pipelines.errors import RecipeError

# With published weights torchvision builds these with frozen norms, and sets their epsilon to 0 afterwards.
_FROZEN_WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")


def with_weights(subject: Subject, path: Path) -> Subject:
    """The subject with the weights of a state dict, read as tensors alone.

    Raises:
        RecipeError: the file holds no tensors, not this model's, or norms whose epsilon nobody can know.
    """
    state = read_tensors(path)
    net = subject.module.net
    assert isinstance(net, nn.Module), "torchvision's model is the net of ours"
    norms = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    frozen = [name for name in norms if f"{name}.running_var" in state and f"{name}.num_batches_tracked" not in state]
    if frozen and subject.name in _FROZEN_WITHOUT_EPSILON:
        if hashlib.sha256(path.read_bytes()).hexdigest()[:8] not in published_hashes(subject.name):
            raise RecipeError(
                f"{path} must not have frozen norms (without num_batches_tracked), whose epsilon, 0 or 1e-5, is not in "
                "it: only published files of this model may; save one built with weights=None, weights_backbone=None"
            )
        for name in frozen:
            norms[name].eps = 0.0
    try:
        net.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"{path} does not hold the weights of {subject.name}: {' '.join(str(error).split())[:300]}"
        ) from error
    return replace(subject, scaling=None, source=f"{subject.source}, weights of {path.name}")


def published_hashes(name: str) -> frozenset[str]:
    """The first eight hexadecimal digits of the SHA-256 of each published file, which its address ends with."""
    found = (re.search(r"-([0-9a-f]{8})\.pth$", one.url) for one in models.get_model_weights(name))
    return frozenset(match[1] for match in found if match)
