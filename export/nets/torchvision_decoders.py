"""What the raw outputs of torchvision's detectors mean: their anchors and box coders, read from the network itself."""

from __future__ import annotations

import math
from typing import Any, Literal

from export.nets.two_stage import PROPOSALS
from pipelines.specs import (
    BoxDelta,
    DefaultBoxes,
    DefaultLevel,
    Fcos,
    SizedAnchors,
    SizedLevel,
)

CLASSES, BOXES, CENTERNESS = "cls_logits", "bbox_regression", "bbox_ctrness"  # as torchvision's heads name them.
LARGEST_LOG_SCALE = math.log(1000 / 16)  # of dw and dh.
_PYRAMID = (8, 16, 32, 64, 128)  # row pixels a cell of the maps P3 to P7.
_CODER = (10.0, 10.0, 5.0, 5.0)  # what the deltas of SSDLite and Faster R-CNN are divided by.
_SSD_STRIDE = 16  # of SSDLite's finest map; each of the others has twice the one before.


def retinanet(net: Any) -> BoxDelta:
    """Class logits and deltas of every anchor of a pyramid, no background."""
    generator = net.anchor_generator
    anchors = SizedAnchors(
        kind="sized",
        levels=tuple(
            SizedLevel(stride=stride, sizes=tuple(map(float, sizes)), aspect_ratios=tuple(map(float, ratios)))
            for stride, sizes, ratios in zip(_PYRAMID, generator.sizes, generator.aspect_ratios, strict=True)
        ),
        order="ratio_major",
        rounding="half_even",
        center_shift=0.0,
        step="spread_floor",
    )
    return _of_anchors(anchors, weights=(1.0, 1.0, 1.0, 1.0), class_activation="sigmoid", background="none")


def ssdlite(net: Any) -> BoxDelta:
    """Class logits and deltas of every default box, the first class none."""
    generator = net.anchor_generator
    anchors = DefaultBoxes(
        kind="default_boxes",
        levels=tuple(
            DefaultLevel(stride=_SSD_STRIDE * 2**i, aspect_ratios=tuple(map(float, ratios)))
            for i, ratios in enumerate(generator.aspect_ratios)
        ),
        scales=tuple(generator.scales),
        clip=generator.clip,
        step="spread",
    )
    return _of_anchors(anchors, weights=_CODER, class_activation="softmax", background="first")


def fcos(_net: Any) -> Fcos:
    """Class logits, distances to the sides and centerness of every cell of a pyramid."""
    return Fcos(
        kind="fcos",
        classes=CLASSES,
        distances=BOXES,
        centerness=CENTERNESS,
        strides=_PYRAMID,
        step="spread_floor",
        center_shift=0.0,
        distance_unit="stride",
        score="geometric_mean",
        clip_to_row=True,
    )


def faster_rcnn(_net: Any) -> BoxDelta:
    """Class logits and deltas of every proposal, the first class none; the proposals are an output, too."""
    return BoxDelta(
        kind="box_delta",
        classes="class_logits",
        deltas="box_regression",
        proposals=PROPOSALS,
        anchors=None,
        deltas_per="column",
        weights=_CODER,
        max_log_scale=LARGEST_LOG_SCALE,
        class_activation="softmax",
        background="first",
        clip_to_row=True,
        min_side=0.01,
    )


def _of_anchors(
    anchors: SizedAnchors | DefaultBoxes,
    *,
    weights: tuple[float, float, float, float],
    class_activation: Literal["sigmoid", "softmax"],
    background: Literal["none", "first"],
) -> BoxDelta:
    """One row of logits and one of deltas for each anchor."""
    return BoxDelta(
        kind="box_delta",
        classes=CLASSES,
        deltas=BOXES,
        proposals=None,
        anchors=anchors,
        deltas_per="anchor",
        weights=weights,
        max_log_scale=LARGEST_LOG_SCALE,
        class_activation=class_activation,
        background=background,
        clip_to_row=True,
        min_side=0.0,
    )
