"""Classifiers of torchvision by name, with a last layer for the classes at hand."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torchvision import models

from export.nets.architecture import Architecture, image_spec
from export.nets.lenet5 import classification_head
from export.nets.specs import TorchvisionClassifier
from pipelines.errors import RecipeError
from pipelines.specs import CenterCrop

_SIDE, _SIDES = 224, {"inception_v3": 299}
_RESIZE_SHARE = 256 / 224  # what ImageNet evaluation crops away: AlexNet's 256, taken up by everybody since.
AUXILIARY_WEIGHT = 0.3  # of each auxiliary loss beside the main one (arXiv:1409.4842, section 5).
_WITH_AUXILIARY = ("googlenet", "inception_v3")


class ClassifierNet(nn.Module):
    """``(N, 3, H, W)`` to ``(N, num_classes)`` logits; in training mode then those of auxiliary heads, if any."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Logits, before softmax."""
        answer = self.net(rows)
        if isinstance(answer, torch.Tensor):
            return answer
        return tuple(logits for logits in answer if logits is not None)  # GoogLeNet and Inception while they train.


def classifier_names() -> tuple[str, ...]:
    """The classifiers that this torchvision knows, in alphabetical order."""
    return tuple(sorted(models.list_models(module=models)))


def build(spec: TorchvisionClassifier, num_classes: int) -> Architecture:
    """A classifier with fresh weights; raises RecipeError for a name that torchvision does not have."""
    if spec.name not in classifier_names():
        raise RecipeError(f"model.name must be a classifier of torchvision (resnet18, ...), got {spec.name!r}")
    options: dict[str, Any] = {"init_weights": True} if spec.name in _WITH_AUXILIARY else {}
    size_hw = spec.size_hw or (_SIDES.get(spec.name, _SIDE),) * 2
    if spec.name.startswith("vit_"):
        if size_hw[0] != size_hw[1]:
            raise RecipeError(f"model.size_hw of {spec.name} must be square, got {size_hw}")
        options["image_size"] = size_hw[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's slow truncated normal, of GoogLeNet and Inception.
        net = models.get_model(spec.name, weights=None, num_classes=num_classes, **options)
    fit = CenterCrop(
        kind="center_crop",
        size_hw=size_hw,
        resize_shorter=spec.resize_shorter or round(max(size_hw) * _RESIZE_SHARE),
        size_rounding="floor",
        offset_rounding="nearest",
    )
    return Architecture(
        module=ClassifierNet(net),
        image=image_spec(fit, resample="pil_bilinear", statistics="imagenet"),
        head=classification_head(num_classes),
    )
