"""torchvision's models by name as something to export, with random weights: labels, thresholds, layers to scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torchvision import models

from export.named.samples import photos
from export.nets import torchvision_classifier, torchvision_detector, torchvision_segmenter
from export.nets.architecture import Architecture
from export.nets.specs import TorchvisionClassifier, TorchvisionDetector, TorchvisionSegmenter
from export.nets.two_stage import PER_LEVEL
from export.subject import Scaling, Subject

# Score and overlap thresholds and most detections, as torchvision's models have them; SSDLite's own score of 0.001 is
# for measuring AP over all scores: served, nearly every box would be answered.
_SERVED: Mapping[str, Mapping[str, Any]] = {
    "fasterrcnn": {"score_threshold": 0.05, "nms_iou_threshold": 0.5, "max_detections": 100},
    "fcos": {"score_threshold": 0.2, "nms_iou_threshold": 0.6, "max_detections": 100},
    "retinanet": {"score_threshold": 0.05, "nms_iou_threshold": 0.5, "max_detections": 300},
    "ssdlite320": {"score_threshold": 0.05, "nms_iou_threshold": 0.55, "max_detections": 300},
}
_SEGMENTER_SIDE = 520  # the shorter side of torchvision's preset.
_CONFIDENT = 150  # class scores a row above the threshold: well over 20 boxes are left after suppression.
_ONE_STAGE_LAYER = "net.head.classification_head.cls_logits"


def classifier(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A classifier of as many classes as its published weights know."""
    labels = _published_labels(name)
    built = torchvision_classifier.build(TorchvisionClassifier(name=name, size_hw=size_hw), len(labels))
    scaling = Scaling(layers=(_last_layer(built.module, len(labels)),))
    return _subject(name, built, labels, scaling, package="models", classes_of="ImageNet")


def detector(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A detector, exported as a head, with the decoder of its family."""
    labels = _published_labels(name)
    family = name.split("_", maxsplit=1)[0]
    if torchvision_detector.FAMILIES[family].background:
        labels = labels[1:]
    spec = TorchvisionDetector.model_validate({"name": name, "size_hw": size_hw, **_SERVED[family]})
    built = torchvision_detector.build(spec, len(labels))
    scaling = _DETECTOR_SCALING[family](built.module, len(labels), spec.score_threshold)
    note = ""
    if torchvision_detector.FAMILIES[family].two_stages:
        note = (
            f"the {PER_LEVEL} best proposals of each level are looked at again; torchvision takes 1,000 suppressed ones"
        )
    return _subject(name, built, labels, scaling, package="models.detection", classes_of="COCO", note=note)


def segmenter(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A segmentation model, with the auxiliary head that published files have weights for."""
    labels = _published_labels(name)
    side = _SEGMENTER_SIDE
    spec = TorchvisionSegmenter.model_validate({"name": name, "size_hw": size_hw or (side, side)})
    built = torchvision_segmenter.build(spec, len(labels), auxiliary=True)
    lraspp = ("net.classifier.low_classifier", "net.classifier.high_classifier")
    layers = lraspp if name.startswith("lraspp") else ("net.classifier.4",)
    scaling = Scaling(layers=layers, balanced=True)
    return _subject(name, built, labels, scaling, package="models.segmentation", classes_of="Pascal VOC")


def _subject(
    name: str,
    built: Architecture,
    labels: tuple[str, ...],
    scaling: Scaling,
    *,
    package: str,
    classes_of: str,
    note: str = "",
) -> Subject:
    return Subject(
        name=name,
        description=f"torchvision {name}, {len(labels)} classes of {classes_of}",
        license="BSD-3-Clause",
        source=f"torchvision.{package}.{name}",
        module=built.module,
        image=built.image,
        head=built.head,
        labels=labels,
        samples=photos(),
        tolerance=built.tolerance,
        metrics={},
        sizes=built.sizes,
        scaling=scaling,
        note=note,
    )


def _published_labels(name: str) -> tuple[str, ...]:
    """The classes of the first published weights."""
    return tuple(next(iter(models.get_model_weights(name))).meta["categories"])


def _last_layer(module: nn.Module, classes: int) -> str:
    """The last layer that makes as many values as there are classes and is no auxiliary head's."""
    found = [
        name
        for name, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    return found[-1]


def _pyramid_scaling(_module: Any, _classes: int, score: float) -> Scaling:
    return Scaling(layers=(_ONE_STAGE_LAYER,), confident=_CONFIDENT, level=_logit(score))


def _fcos_scaling(_module: Any, _classes: int, score: float) -> Scaling:
    # A new network's centerness is about 0.5, so that the score is above 0.2 where the class is above 0.08.
    sides = ("net.head.regression_head.bbox_reg",)
    return Scaling(layers=(_ONE_STAGE_LAYER,), sides=sides, confident=_CONFIDENT, level=_logit(score**2 * 2))


def _ssd_scaling(module: Any, classes: int, _score: float) -> Scaling:
    maps = len(module.net.anchor_generator.aspect_ratios)
    layers = tuple(f"net.head.classification_head.module_list.{i}.1" for i in range(maps))
    return Scaling(layers=layers, background=(classes + 1, 0))


def _two_stage_scaling(_module: Any, classes: int, _score: float) -> Scaling:
    return Scaling(layers=("net.roi_heads.box_predictor.cls_score",), background=(classes + 1, 0))


_DETECTOR_SCALING: Mapping[str, Callable[[Any, int, float], Scaling]] = {
    "fasterrcnn": _two_stage_scaling,
    "fcos": _fcos_scaling,
    "retinanet": _pyramid_scaling,
    "ssdlite320": _ssd_scaling,
}


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
