"""torchvision's segmentation models by name: DeepLabV3, FCN and LR-ASPP, 21 classes."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models
from torchvision.models import segmentation

from export.named.samples import photos
from export.subject import Scaling, Sizes, Subject
from export.tolerance import golden_tolerance
from pipelines.manifest import RawTolerance
from pipelines.specs import ImageSpec, SegmentationHead, Stretch
from pipelines.statistics import STATISTICS

OUTPUT = "logits"
SIDE = 520  # the shorter side of torchvision's preset.
_LAST = {
    "deeplabv3": ("inner.classifier.4",),
    "fcn": ("inner.classifier.4",),
    "lraspp": ("inner.classifier.low_classifier", "inner.classifier.high_classifier"),
}


class _OutAlone(nn.Module):
    """The main head's logits at the row's size; the auxiliary head is for training."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(rows)["out"]
        return answer


def segmenter(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A segmentation model with random weights; images are stretched to one size, so that they batch."""
    published = next(iter(models.get_model_weights(name)))
    labels = tuple(published.meta["categories"])
    family = name.split("_", maxsplit=1)[0]
    auxiliary = {} if family == "lraspp" else {"aux_loss": True}  # as the published files have it.
    inner = models.get_model(name, weights=None, weights_backbone=None, num_classes=len(labels), **auxiliary)
    statistics = STATISTICS["imagenet"]
    return Subject(
        name=name,
        description=f"torchvision {name}, {len(labels)} classes of Pascal VOC",
        license="BSD-3-Clause",
        source=f"torchvision.models.segmentation.{name}",
        module=_OutAlone(inner).eval(),
        image=ImageSpec(
            fit=Stretch(kind="stretch", size_hw=size_hw or (SIDE, SIDE)),
            resample="pil_bilinear",
            color="rgb",
            exif="apply",
            alpha="white",
            layout="chw",
            dtype="float32",
            scale=statistics.scale,
            mean=statistics.mean,
            std=statistics.std,
            in_graph=(),
        ),
        head=SegmentationHead(
            task="segmentation", output=OUTPUT, activation="softmax", threshold=0.5, mask_resample="opencv_linear"
        ),
        labels=labels,
        samples=photos(),
        tolerance=golden_tolerance(
            reason="same network in float32: pixels whose two best classes tie may change sides",
            # Logits below 20 after some 60 layers, then an interpolation whose weights are rounded in another order.
            cpu=RawTolerance(rtol=1e-3, atol=2e-3),
        ),
        metrics={},
        sizes=Sizes(multiple_of=1, least=64),
        scaling=Scaling(layers=_LAST[family], balanced=True),
    )


def is_segmenter(name: str) -> bool:
    """Whether torchvision has a segmentation model of that name."""
    return name in models.list_models(module=segmentation)
