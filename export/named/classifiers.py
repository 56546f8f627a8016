"""Any torchvision classifier by its name, fed as its published weights want it."""

from __future__ import annotations

from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from export.named.samples import photos
from export.subject import Scaling, Sizes, Subject
from export.tolerance import golden_tolerance
from pipelines.manifest import RawTolerance
from pipelines.specs import CenterCrop, ClassificationHead, ImageSpec
from pipelines.specs.base import Resample

OUTPUT = "logits"
_KERNELS: dict[InterpolationMode, Resample] = {
    InterpolationMode.BILINEAR: "pil_bilinear",
    InterpolationMode.BICUBIC: "pil_bicubic",
}
_ONE_SIZE = ("vit_", "maxvit")  # their position embeddings are as many as the patches of one size.
_LEAST_SIDE = {"inception_v3": 80, "googlenet": 64, "vgg": 64, "alexnet": 80}


def classifier(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A classifier with random weights and the preprocessing of its first published ones."""
    published = next(iter(models.get_model_weights(name)))
    preset = published.transforms()
    crop, shorter = int(preset.crop_size[0]), int(preset.resize_size[0])
    size = size_hw or (crop, crop)
    labels = tuple(published.meta["categories"])
    module = models.get_model(name, weights=None, **_plain(name)).eval()
    return Subject(
        name=name,
        description=f"torchvision {name}, {len(labels)} classes of ImageNet",
        license="BSD-3-Clause",
        source=f"torchvision.models.{name}",
        module=module,
        image=ImageSpec(
            fit=CenterCrop(
                kind="center_crop",
                size_hw=size,
                resize_shorter=max(size) * shorter // crop,
                size_rounding="floor",
                offset_rounding="nearest",
            ),
            resample=_KERNELS[preset.interpolation],
            color="rgb",
            exif="apply",
            alpha="white",
            layout="chw",
            dtype="float32",
            scale=255.0,
            mean=tuple(map(float, preset.mean)),
            std=tuple(map(float, preset.std)),
            in_graph=(),
        ),
        head=ClassificationHead(
            task="classification", output=OUTPUT, activation="softmax", temperature=1.0, score_threshold=None, top_k=5
        ),
        labels=labels,
        samples=photos(),
        tolerance=golden_tolerance(
            reason="same network in float32: probabilities within 0.002",
            # Logits below 20 after up to 120 layers, each summed in another order than torch's.
            cpu=RawTolerance(rtol=1e-3, atol=2e-3),
        ),
        metrics={},
        sizes=Sizes(
            multiple_of=None if name.startswith(_ONE_SIZE) else 1,
            least=next((side for start, side in _LEAST_SIDE.items() if name.startswith(start)), 48),
        ),
        scaling=Scaling(layers=(_last_layer(module, len(labels)),)),
    )


def is_classifier(name: str) -> bool:
    """Whether torchvision has a classifier of that name."""
    return name in models.list_models(module=models)


def _plain(name: str) -> dict[str, bool]:
    """Without the slow initialisation of two old networks, whose weights are replaced or scaled anyway."""
    return {"init_weights": False} if name in ("inception_v3", "googlenet") else {}


def _last_layer(module: nn.Module, classes: int) -> str:
    """The last layer that makes as many values as there are classes."""
    found = [
        name
        for name, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    return found[-1]
