"""Small torch modules to export, one a task, and what the gate needs beside them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from export.named.samples import photos
from export.subject import Scaling, Sizes, Subject
from export.tolerance import golden_tolerance
from pipelines.specs import ClassificationHead, EmbeddingHead, Head, ImageSpec, SegmentationHead, Stretch

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
