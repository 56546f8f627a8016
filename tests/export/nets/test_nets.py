"""Trainable models: each answers what its own head reads, in training as in serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.nets import Architecture, ModelSpec, build_model
from export.nets.specs import (
    GridDetector,
    LeNet5,
    TorchvisionClassifier,
    TorchvisionDetector,
    TorchvisionSegmenter,
)
from export.training.inference import answer_images, pipeline_for
from pipelines.errors import RecipeError
from pipelines.types import Result

CLASSES = 3
ANCHORS = (((8.0, 9.0), (20.0, 21.0)), ((40.0, 30.0), (60.0, 70.0)))
SMALL: tuple[ModelSpec, ...] = (
    LeNet5(),
    GridDetector(width=4, anchors=ANCHORS, size_hw=(64, 96), score_threshold=0.0),
    GridDetector(width=4, anchors=ANCHORS, size_hw=None, score_threshold=0.0),
    TorchvisionClassifier(name="mobilenet_v3_small", size_hw=(64, 64)),
    TorchvisionDetector(name="ssdlite320_mobilenet_v3_large", score_threshold=0.0),
    TorchvisionSegmenter(name="lraspp_mobilenet_v3_large", size_hw=(64, 96)),
)


def answer(architecture: Architecture) -> list[Result]:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (50, 70, 3), dtype=np.uint8) for _ in range(3)]
    labels = tuple("abc")
    pipeline = pipeline_for(architecture.image, architecture.head, labels)
    return list(answer_images(architecture.module.eval(), pipeline, images, batch_size=2))


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: f"{spec.kind}-{getattr(spec, 'name', '')}")
def test_a_models_outputs_are_what_its_pipeline_reads(spec: ModelSpec) -> None:
    torch.manual_seed(0)
    results = answer(build_model(spec, num_classes=CLASSES))
    assert len(results) == 3
    assert all(len(result.labels) > 0 for result in results if hasattr(result, "labels"))


def test_a_grid_starts_with_few_objects() -> None:
    torch.manual_seed(0)
    net = build_model(GridDetector(width=4, anchors=ANCHORS), num_classes=CLASSES).module.eval()
    with torch.no_grad():
        maps = net(torch.rand(2, 3, 64, 96))
    objectness = torch.cat([m.view(2, 2, 8, -1)[:, :, 4].sigmoid().flatten() for m in maps])
    assert objectness.mean() == pytest.approx(0.01, abs=0.005)


def test_a_grid_without_anchors_cannot_be_built() -> None:
    with pytest.raises(RecipeError, match=r"model\.anchors must be known"):
        build_model(GridDetector(), num_classes=1)


def test_a_name_that_torchvision_does_not_have_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"classifier of torchvision .*got 'resnet19'"):
        build_model(TorchvisionClassifier(name="resnet19"), num_classes=1)


@pytest.mark.parametrize(
    ("name", "size_hw", "problem"),
    [
        ("alexnet", (16, 16), r"size_hw of alexnet must be rows that it takes, got \(16, 16\): "),
        ("vit_b_32", (40, 40), r"size_hw of vit_b_32 must be rows that it takes, got \(40, 40\): "),
        ("vit_b_32", (32, 64), r"size_hw of vit_b_32 must be square, got \(32, 64\)"),
    ],
)
def test_a_row_that_a_classifier_does_not_take_is_refused(name: str, size_hw: tuple[int, int], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        build_model(TorchvisionClassifier(name=name, size_hw=size_hw), num_classes=2)


@pytest.mark.parametrize(
    ("over", "problem"),
    [
        ({"strides": (8, 32)}, "strides must double"),
        ({"size_hw": (60, 64)}, "size_hw must be multiples of 16"),
        ({"max_longer": 100}, "max_longer acts only where size_hw is null"),
        ({"anchors": (((1.0, 1.0),),)}, "anchors must be 2 groups, one a stride, got 1"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(over: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        GridDetector(**over)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn"]
)
def test_torchvision_detectors_answer_their_decoder_and_their_own_losses(name: Any) -> None:
    torch.manual_seed(0)
    architecture = build_model(TorchvisionDetector(name=name, size_hw=(128, 192)), num_classes=CLASSES)
    assert len(answer(architecture)) == 3
    boxes = {"boxes": torch.tensor([[20.0, 30.0, 90.0, 100.0]]), "labels": torch.tensor([1])}
    none = {"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = architecture.module.train()(torch.rand(2, 3, 128, 192), [boxes, none])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in architecture.module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "vgg16",
        "googlenet",
        "inception_v3",
        "resnet18",
        "densenet121",
        "mobilenet_v2",
        "efficientnet_b0",
        "vit_b_16",
    ],
)
def test_torchvision_classifiers_have_a_head_for_the_classes_at_hand(name: str) -> None:
    architecture = build_model(TorchvisionClassifier(name=name), num_classes=CLASSES)
    side = architecture.image.fit.size_hw  # type: ignore[union-attr]
    with torch.no_grad():
        assert architecture.module.eval()(torch.rand(2, 3, *side)).shape == (2, CLASSES)
