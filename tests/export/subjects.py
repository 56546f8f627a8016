"""Small torch modules to export, one a task, and what the gate needs beside them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from export.named.samples import photos
from export.subject import Scaling, Sizes, Subject
from export.tolerance import golden_tolerance
from pipelines.specs import (
    BoxDelta,
    ClassificationHead,
    DetectionHead,
    EmbeddingHead,
    Head,
    ImageSpec,
    Nms,
    SegmentationHead,
    SizedAnchors,
    SizedLevel,
    Stretch,
)

SIZE_HW = (32, 48)


def image_spec(**changes: Any) -> ImageSpec:
    """RGB rows of ``SIZE_HW``, normalised by three different means and deviations."""
    fields: dict[str, Any] = {
        "fit": Stretch(kind="stretch", size_hw=SIZE_HW),
        "resample": "opencv_linear",
        "color": "rgb",
        "exif": "apply",
        "alpha": "white",
        "layout": "chw",
        "dtype": "float32",
        "scale": 255.0,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.3),
        "in_graph": (),
    }
    return ImageSpec(**(fields | changes))


def classifier_net(*, classes: int = 4, tail: nn.Module | None = None) -> nn.Sequential:
    """Two convolutions with batch-norm, pooling, dropout and a linear layer named ``last``."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("first", nn.Conv2d(3, 8, 3, stride=2, padding=1))
    net.add_module("norm", nn.BatchNorm2d(8))
    net.add_module("bend", nn.ReLU())
    net.add_module("second", nn.Conv2d(8, 8, 3, padding=1))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("drop", nn.Dropout(0.5))
    net.add_module("last", nn.Linear(8, classes))
    if tail is not None:
        net.add_module("tail", tail)
    return net


def classification(**changes: Any) -> ClassificationHead:
    fields: dict[str, Any] = {
        "task": "classification",
        "output": "y",
        "activation": "softmax",
        "temperature": 1.0,
        "score_threshold": None,
        "top_k": 2,
    }
    return ClassificationHead(**(fields | changes))


def segmentation() -> SegmentationHead:
    return SegmentationHead(
        task="segmentation", output="y", activation="softmax", threshold=0.5, mask_resample="opencv_linear"
    )


def embedding(dim: int) -> EmbeddingHead:
    return EmbeddingHead(task="embedding", output="y", dim=dim, normalize=True)


def subject(module: nn.Module, head: Head | None = None, **changes: Any) -> Subject:
    """A module to export, by default a classifier of four classes at one size."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "description": "a small network with random weights",
        "license": "Apache-2.0",
        "source": "tests/export/subjects.py",
        "module": module,
        "image": image_spec(),
        "head": head or classification(),
        "labels": ("a", "b", "c", "d"),
        "samples": photos(),
        "tolerance": golden_tolerance(reason="a few layers in float32"),
        "metrics": {},
        "sizes": Sizes(),
        "scaling": Scaling(layers=("last",)),
    }
    return Subject(**(fields | changes))


@functools.cache
def tiny_classifier() -> Subject:
    """The default; its module is shared and scaled once, so tests must not change it."""
    return subject(classifier_net())


class AnchorNet(nn.Module):
    """One feature map of stride 8 with two anchors a cell: class logits of three classes, and box deltas."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 12, 8, stride=8), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1))
        self.last = nn.Conv2d(12, 2 * 3, 1)
        self.sides = nn.Conv2d(12, 2 * 4, 1)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.body(rows)
        classes, deltas = self.last(maps), self.sides(maps)
        return classes.permute(0, 2, 3, 1).reshape(-1, classes.shape[2] * classes.shape[3] * 2, 3), (
            deltas.permute(0, 2, 3, 1).reshape(-1, deltas.shape[2] * deltas.shape[3] * 2, 4)
        )


def detection(**changes: Any) -> DetectionHead:
    decoder: dict[str, Any] = {
        "kind": "box_delta",
        "classes": "classes",
        "deltas": "deltas",
        "proposals": None,
        "anchors": SizedAnchors(
            kind="sized",
            levels=(SizedLevel(stride=8, sizes=(24.0, 40.0), aspect_ratios=(1.0,)),),
            order="ratio_major",
            rounding="none",
            center_shift=0.5,
            step="stride",
        ),
        "deltas_per": "anchor",
        "weights": (1.0, 1.0, 1.0, 1.0),
        "max_log_scale": 2.0,
        "class_activation": "sigmoid",
        "background": "none",
        "clip_to_row": True,
        "min_side": 0.0,
    }
    fields: dict[str, Any] = {
        "task": "detection",
        "score_threshold": 0.5,
        "nms": Nms(kind="hard", iou_threshold=0.5, class_agnostic=False, candidates=1000),
        "max_detections": 50,
    }
    fields |= {name: changes.pop(name) for name in list(changes) if name in fields}
    return DetectionHead(decoder=BoxDelta(**(decoder | changes)), **fields)


def detector(**changes: Any) -> Subject:
    """A detector of 64 x 96 rows, 192 anchors, three classes."""
    fields: dict[str, Any] = {
        "image": image_spec(fit=Stretch(kind="stretch", size_hw=(64, 96))),
        "labels": ("a", "b", "c"),
        "scaling": Scaling(layers=("last",), confident=40),
    }
    return subject(AnchorNet(), detection(), **(fields | changes))
