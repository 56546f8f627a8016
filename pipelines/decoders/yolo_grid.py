"""YOLOv2 and YOLOv3 anchor grids: every anchor of every cell may be one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.activations import sigmoid, softmax
from pipelines.decoders.candidates import Candidates, require_grid
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output, require_finite, require_probabilities
from pipelines.specs import YoloGrid
from pipelines.types import AnyArray, FloatArray

_BOX_AND_OBJECTNESS = 5


def decode(
    outputs: Mapping[str, AnyArray], spec: YoloGrid, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn anchor grids (YOLO9000, arXiv:1612.08242; YOLOv3, arXiv:1804.02767) into candidates.

    With cell ``(x, y)``, the anchor's size and the attributes ``tx, ty, tw, th, to, classes`` at that place::

        centre = ((x, y) + sigmoid(tx, ty)) * stride
        side   = anchor * exp(tw, th)             times stride where anchors are in cells
        score  = sigmoid(to) * P(class)           P: softmax (YOLOv2) or sigmoid (YOLOv3) of the classes

    An anchor gives **one** candidate, of its best class (ties: the lower id), when its score is at or above the
    threshold. Boxes are not clipped: the suppression that follows compares them whole, as Darknet does.

    No probability exceeds 1, so an anchor whose objectness is below the threshold is dropped before its classes and its
    box are computed.

    Args:
        outputs: name to array of one row, as :class:`YoloGrid` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    scales = [
        _decode_scale(outputs, spec, i, row_hw=row_hw, score_threshold=score_threshold)
        for i in range(len(spec.outputs))
    ]
    counts = {scale.num_classes for scale in scales}
    if len(counts) > 1:
        raise ModelOutputError(f"all scales must have as many classes, got {sorted(counts)}")
    return Candidates(
        boxes=np.concatenate([scale.boxes for scale in scales]),
        scores=np.concatenate([scale.scores for scale in scales]),
        class_ids=np.concatenate([scale.class_ids for scale in scales]),
        num_classes=counts.pop(),
    )


def _decode_scale(
    outputs: Mapping[str, AnyArray], spec: YoloGrid, scale: int, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    name, stride = spec.outputs[scale], spec.strides[scale]
    anchors = np.array(spec.anchors[scale], dtype=np.float64)
    if spec.anchor_unit == "cell":
        anchors *= stride
    grid = _as_cells(outputs, name, len(anchors), channel_order=spec.channel_order)  # (h, w, A, 5 + C)
    require_grid(name, (grid.shape[0], grid.shape[1]), row_hw, stride)
    threshold = np.float32(score_threshold)

    objectness = grid[..., 4]
    if spec.objectness == "sigmoid":
        objectness = sigmoid(objectness)
    else:
        require_probabilities(name, objectness)
    y, x, anchor = np.nonzero(objectness >= threshold)
    found = grid[y, x, anchor]  # (N, 5 + C)
    classes = found[:, _BOX_AND_OBJECTNESS:]
    classes = softmax(classes) if spec.class_activation == "softmax" else sigmoid(classes)
    class_ids = classes.argmax(axis=1)
    scores = objectness[y, x, anchor] * classes[np.arange(len(classes)), class_ids]

    kept = scores >= threshold
    y, x, anchor, found = y[kept], x[kept], anchor[kept], found[kept]
    centers = (np.stack((x, y), axis=1) + sigmoid(found[:, :2]).astype(np.float64)) * stride
    with np.errstate(over="ignore"):  # an infinite side is refused below.
        halves = anchors[anchor] * np.exp(found[:, 2:4].astype(np.float64)) / 2
        boxes = np.concatenate((centers - halves, centers + halves), axis=1, dtype=np.float32)
    require_finite(f"boxes from output {name!r}", boxes)
    return Candidates(
        boxes=boxes,
        scores=scores[kept],
        class_ids=class_ids[kept].astype(np.int64),
        num_classes=grid.shape[3] - _BOX_AND_OBJECTNESS,
    )


def _as_cells(outputs: Mapping[str, AnyArray], name: str, num_anchors: int, *, channel_order: str) -> FloatArray:
    """Read a scale as ``(h, w, A, 5 + C)``; a view where the output is stored that way."""
    four_axes = name in outputs and outputs[name].ndim == 4 and channel_order == "hwc"
    shape: Sequence[int | None] = (None, None, num_anchors, None) if four_axes else (None, None, None)
    array = read_output(outputs, name, shape)
    if channel_order == "chw":
        array = np.moveaxis(array, 0, -1)
    channels = array.shape[2] * array.shape[3] if four_axes else array.shape[2]
    if channels % num_anchors or channels // num_anchors <= _BOX_AND_OBJECTNESS:
        raise ModelOutputError(
            f"output {name!r} must have (5 + classes) channels for each of {num_anchors} anchors, got {channels}"
        )
    return array.reshape(*array.shape[:2], num_anchors, channels // num_anchors)
