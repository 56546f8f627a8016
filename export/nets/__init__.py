"""Trainable models by name: torch modules, each with how it is fed and how its outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from export.nets import (
    embedding_net,
    grid_detector,
    lenet5,
    torchvision_classifier,
    torchvision_detector,
    torchvision_segmenter,
    unet,
)
from export.nets.architecture import INPUT, Architecture
from export.nets.specs import ModelSpec

BUILDERS: Mapping[str, Callable[[Any, int], Architecture]] = {
    "embedding_net": embedding_net.build,
    "grid_detector": grid_detector.build,
    "lenet5": lenet5.build,
    "torchvision_classifier": torchvision_classifier.build,
    "torchvision_detector": torchvision_detector.build,
    "torchvision_segmenter": torchvision_segmenter.build,
    "unet": unet.build,
}


def build_model(spec: ModelSpec, *, num_classes: int) -> Architecture:
    """Build a model with fresh weights from torch's global random numbers; raises RecipeError where it cannot be."""
    return BUILDERS[spec.kind](spec, num_classes)


__all__ = ["BUILDERS", "INPUT", "Architecture", "ModelSpec", "build_model"]
