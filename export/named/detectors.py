"""torchvision's detectors by name, exported as heads: their raw outputs, which the decoders of ``pipelines`` read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from export.named.samples import photos
from export.subject import Scaling, Sizes, Subject
from export.tolerance import golden_tolerance
from pipelines.manifest import RawTolerance
from pipelines.specs import (
    BoxDelta,
    Decoder,
    DefaultBoxes,
    DefaultLevel,
    DetectionHead,
    Fcos,
    ImageSpec,
    Letterbox,
    Nms,
    SizedAnchors,
    SizedLevel,
    Stretch,
)

CLASSES, BOXES, CENTERNESS, PROPOSALS = "classes", "boxes", "centerness", "proposals"
SIDE = 640
LARGEST_LOG_SCALE = math.log(1000 / 16)
_CLASS_LAYER = "inner.head.classification_head.cls_logits"
_CONFIDENT = 150  # class scores a row above the threshold: well over 20 boxes are left after suppression.


class _OneStage(nn.Module):
    """Backbone and head; the outputs of all feature maps one after the other."""

    def __init__(self, inner: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.inner: Any = inner
        self._names = names

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = list(self.inner.backbone(rows).values())
        answers = self.inner.head(features)
        return tuple(answers[name] for name in self._names)


class _TwoStages(nn.Module):
    """Both stages for one row: proposals by the first, with its suppression, and what the second says of each."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner: Any = inner

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.inner.backbone(rows)
        sizes = [(int(rows.shape[2]), int(rows.shape[3]))]
        proposals, _ = self.inner.rpn(ImageList(rows, sizes), features)
        roi = self.inner.roi_heads
        classes, deltas = roi.box_predictor(roi.box_head(roi.box_roi_pool(features, proposals, sizes)))
        return classes[None], deltas[None], proposals[0][None]


def detector(name: str, *, size_hw: tuple[int, int] | None = None) -> Subject:
    """A detector with random weights and the decoder of its family."""
    published = next(iter(models.get_model_weights(name)))
    inner = models.get_model(name, weights=None, weights_backbone=None).eval()
    return _FAMILIES[name.split("_", maxsplit=1)[0]](name, inner, tuple(published.meta["categories"]), size_hw)


def is_detector(name: str) -> bool:
    """Whether torchvision has a detector of that name that we can export."""
    known = models.list_models(module=detection)
    return name in known and name.split("_", maxsplit=1)[0] in _FAMILIES


def _retinanet(name: str, inner: Any, labels: tuple[str, ...], size_hw: tuple[int, int] | None) -> Subject:
    generator = inner.anchor_generator
    decoder = BoxDelta(
        kind="box_delta",
        classes=CLASSES,
        deltas=BOXES,
        proposals=None,
        anchors=SizedAnchors(
            kind="sized",
            levels=tuple(
                SizedLevel(stride=8 * 2**i, sizes=tuple(map(float, sizes)), aspect_ratios=tuple(map(float, ratios)))
                for i, (sizes, ratios) in enumerate(zip(generator.sizes, generator.aspect_ratios, strict=True))
            ),
            order="ratio_major",
            rounding="half_even",
            center_shift=0.0,
            step="spread_floor",
        ),
        deltas_per="anchor",
        weights=(1.0, 1.0, 1.0, 1.0),
        max_log_scale=LARGEST_LOG_SCALE,
        class_activation="sigmoid",
        background="none",
        clip_to_row=True,
        min_side=0.0,
    )
    return _subject(
        name,
        _OneStage(inner, ("cls_logits", "bbox_regression")),
        _head(decoder, score=inner.score_thresh, iou=inner.nms_thresh, most=inner.detections_per_img),
        labels,
        _letterbox(size_hw),
        Scaling(
            layers=(_CLASS_LAYER,),
            confident=_CONFIDENT,
            level=_logit(inner.score_thresh),
        ),
    )


def _fcos(name: str, inner: Any, labels: tuple[str, ...], size_hw: tuple[int, int] | None) -> Subject:
    decoder = Fcos(
        kind="fcos",
        classes=CLASSES,
        distances=BOXES,
        centerness=CENTERNESS,
        strides=(8, 16, 32, 64, 128),
        step="spread_floor",
        center_shift=0.0,
        distance_unit="stride",
        score="geometric_mean",
        clip_to_row=True,
    )
    return _subject(
        name,
        _OneStage(inner, ("cls_logits", "bbox_regression", "bbox_ctrness")),
        _head(decoder, score=inner.score_thresh, iou=inner.nms_thresh, most=inner.detections_per_img),
        labels,
        _letterbox(size_hw),
        # A new network's centerness is about 0.5, so that the score is above 0.2 where the class is above 0.08.
        Scaling(
            layers=(_CLASS_LAYER,),
            sides=("inner.head.regression_head.bbox_reg",),
            confident=_CONFIDENT,
            level=_logit(inner.score_thresh**2 * 2),
        ),
    )


def _ssdlite(name: str, inner: Any, labels: tuple[str, ...], size_hw: tuple[int, int] | None) -> Subject:
    generator = inner.anchor_generator
    decoder = BoxDelta(
        kind="box_delta",
        classes=CLASSES,
        deltas=BOXES,
        proposals=None,
        anchors=DefaultBoxes(
            kind="default_boxes",
            levels=tuple(
                DefaultLevel(stride=16 * 2**i, aspect_ratios=tuple(map(float, ratios)))
                for i, ratios in enumerate(generator.aspect_ratios)
            ),
            scales=tuple(generator.scales),
            clip=generator.clip,
            step="spread",
        ),
        deltas_per="anchor",
        weights=(10.0, 10.0, 5.0, 5.0),
        max_log_scale=LARGEST_LOG_SCALE,
        class_activation="softmax",
        background="first",
        clip_to_row=True,
        min_side=0.0,
    )
    side = int(inner.transform.min_size[0])
    layers = tuple(f"inner.head.classification_head.module_list.{i}.1" for i in range(len(generator.aspect_ratios)))
    return _subject(
        name,
        _OneStage(inner, ("cls_logits", "bbox_regression")),
        # torchvision's own 0.001 is for measuring AP over all scores; served, nearly every box would be answered.
        _head(decoder, score=0.05, iou=inner.nms_thresh, most=inner.detections_per_img),
        labels[1:],
        Stretch(kind="stretch", size_hw=size_hw or (side, side)),
        Scaling(layers=layers, background=(len(labels), 0)),
        mean=0.5,
    )


def _fasterrcnn(name: str, inner: Any, labels: tuple[str, ...], size_hw: tuple[int, int] | None) -> Subject:
    decoder = BoxDelta(
        kind="box_delta",
        classes=CLASSES,
        deltas=BOXES,
        proposals=PROPOSALS,
        anchors=None,
        deltas_per="column",
        weights=(10.0, 10.0, 5.0, 5.0),
        max_log_scale=LARGEST_LOG_SCALE,
        class_activation="softmax",
        background="first",
        clip_to_row=True,
        min_side=0.01,
    )
    roi = inner.roi_heads
    return _subject(
        name,
        _TwoStages(inner),
        _head(decoder, score=roi.score_thresh, iou=roi.nms_thresh, most=roi.detections_per_img),
        labels[1:],
        _letterbox(size_hw),
        Scaling(layers=("inner.roi_heads.box_predictor.cls_score",), background=(len(labels), 0)),
        two_stages=True,
    )


_FAMILIES: Mapping[str, Callable[[str, Any, tuple[str, ...], tuple[int, int] | None], Subject]] = {
    "fasterrcnn": _fasterrcnn,
    "fcos": _fcos,
    "retinanet": _retinanet,
    "ssdlite320": _ssdlite,
}


def _subject(
    name: str,
    module: nn.Module,
    head: DetectionHead,
    labels: tuple[str, ...],
    fit: Letterbox | Stretch,
    scaling: Scaling,
    *,
    mean: float | None = None,
    two_stages: bool = False,
) -> Subject:
    return Subject(
        name=name,
        description=f"torchvision {name}, {len(labels)} classes of COCO",
        license="BSD-3-Clause",
        source=f"torchvision.models.detection.{name}",
        module=module.eval(),
        image=ImageSpec(
            fit=fit,
            resample="torch_bilinear",
            color="rgb",
            exif="apply",
            alpha="white",
            layout="chw",
            dtype="float32",
            scale=255.0,
            mean=(0.485, 0.456, 0.406) if mean is None else (mean,) * 3,
            std=(0.229, 0.224, 0.225) if mean is None else (mean,) * 3,
            in_graph=(),
        ),
        head=head,
        labels=labels,
        samples=photos(),
        tolerance=golden_tolerance(
            reason="same network in float32: scores within 0.002, boxes within 1 % of their overlap",
            # Logits up to 30 after some 60 layers, each summed in another order than torch's.
            cpu=RawTolerance(rtol=1e-3, atol=5e-3),
            box_iou=0.99,
        ),
        metrics={},
        sizes=Sizes() if two_stages else Sizes(multiple_of=32, least=96),
        dynamic_batch=not two_stages,
        scaling=scaling,
        note="one row a run, at one size: the number of proposals depends on the image" if two_stages else "",
    )


def _head(decoder: Decoder, *, score: float, iou: float, most: int) -> DetectionHead:
    return DetectionHead(
        task="detection",
        decoder=decoder,
        score_threshold=float(score),
        nms=Nms(kind="hard", iou_threshold=float(iou), class_agnostic=False, candidates=3000),
        max_detections=int(most),
    )


def _letterbox(size_hw: tuple[int, int] | None) -> Letterbox:
    """At the top left, as torchvision batches; 116 is near the mean colour, which is what its padding is."""
    return Letterbox(
        kind="letterbox",
        size_hw=size_hw or (SIDE, SIDE),
        size_rounding="floor",
        pad_value=116,
        pad_position="top_left",
        pad_rounding=None,
        scale_up=True,
    )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
