"""Classifiers of torchvision by name, fed as their first published weights want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from export.nets.architecture import Architecture, image_spec
from export.nets.lenet5 import classification_head
from export.nets.specs import TorchvisionClassifier
from export.subject import Sizes
from export.tolerance import golden_tolerance
from pipelines.errors import RecipeError
from pipelines.manifest import RawTolerance
from pipelines.specs import CenterCrop, ImageSpec, Resample

AUXILIARY_WEIGHT = 0.3  # of each auxiliary loss beside the main one (arXiv:1409.4842, section 5).
_AUXILIARY_LEAST = {"googlenet": 15, "inception_v3": 299}  # shortest side that their auxiliary heads take.
_KERNELS: Mapping[InterpolationMode, Resample] = {
    InterpolationMode.BILINEAR: "pil_bilinear",
    InterpolationMode.BICUBIC: "pil_bicubic",
}
_LEAST_SIDE = {"inception_v3": 80, "googlenet": 64, "vgg": 64, "alexnet": 80}
TOLERANCE = golden_tolerance(
    reason="same network in float32: probabilities within 0.002",
    # Logits below 20 after up to 120 layers, each summed in another order than torch's.
    cpu=RawTolerance(rtol=1e-3, atol=2e-3),
)


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
    """A classifier with fresh weights; raises RecipeError for a name or a size of row that it does not take."""
    if spec.name not in classifier_names():
        raise RecipeError(f"model.name must be a classifier of torchvision (resnet18, ...), got {spec.name!r}")
    image = _published_image(spec)
    assert isinstance(image.fit, CenterCrop), "that is what torchvision's presets do"
    options = _options(spec.name, image.fit.size_hw)
    try:
        net = models.get_model(spec.name, weights=None, num_classes=num_classes, **options)
        if spec.size_hw is not None:
            with torch.no_grad():  # one row of zeros: some sizes leave no pixel, or do not divide into patches.
                net.eval()(torch.zeros(1, 3, *spec.size_hw))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise RecipeError(
            f"model.size_hw of {spec.name} must be rows that it takes, got {image.fit.size_hw}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return Architecture(
        module=ClassifierNet(net.eval()),
        image=image,
        head=classification_head(num_classes),
        sizes=sizes_of(spec.name),
        tolerance=TOLERANCE,
    )


def sizes_of(name: str) -> Sizes:
    """Rows of other sizes than the recipe's that a classifier takes."""
    if name.startswith(("vit_", "maxvit")):
        return Sizes()  # their position embeddings are as many as the patches of one size.
    return Sizes(multiple_of=1, least=next((side for start, side in _LEAST_SIDE.items() if name.startswith(start)), 48))


def _published_image(spec: TorchvisionClassifier) -> ImageSpec:
    """The preprocessing of the first published weights, at the size of ``spec``."""
    preset = next(iter(models.get_model_weights(spec.name))).transforms()
    crop, shorter = int(preset.crop_size[0]), int(preset.resize_size[0])
    size_hw = spec.size_hw or (crop, crop)
    fit = CenterCrop(
        kind="center_crop",
        size_hw=size_hw,
        resize_shorter=spec.resize_shorter or max(size_hw) * shorter // crop,
        size_rounding="floor",
        offset_rounding="nearest",
    )
    image = image_spec(fit, resample=_KERNELS[preset.interpolation], statistics="imagenet")
    return image.model_copy(update={"mean": tuple(map(float, preset.mean)), "std": tuple(map(float, preset.std))})


def _options(name: str, size_hw: tuple[int, int]) -> dict[str, Any]:
    """What the network is made with beside its classes."""
    if name in _AUXILIARY_LEAST:
        return {"init_weights": True, "aux_logits": min(size_hw) >= _AUXILIARY_LEAST[name]}
    if name.startswith("vit_"):
        if size_hw[0] != size_hw[1]:
            raise RecipeError(f"model.size_hw of {name} must be square, got {size_hw}")
        return {"image_size": size_hw[0]}
    return {"input_size": size_hw} if name.startswith("maxvit") else {}
