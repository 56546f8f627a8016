"""YOLOv5 and YOLOv7 anchor heads: raw maps, or rows that the graph has decoded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.activations import sigmoid
from pipelines.decoders.candidates import Candidates, join, require_grid
from pipelines.decoders.dense import BOX_AND_OBJECTNESS, corners, pick_rows
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output
from pipelines.specs import YoloV5, YoloV5Decoded, YoloV5Maps
from pipelines.types import AnyArray, FloatArray


def decode(
    outputs: Mapping[str, AnyArray], spec: YoloV5, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn YOLOv5 and YOLOv7 outputs into candidates.

    The centre is YOLOv4's remedy for grid sensitivity (arXiv:2004.10934, section 4.3), a sigmoid times 2; the sides are
    bounded in the same way (YOLOv5's architecture page, section 4.3). With cell ``(x, y)``, the anchor in row pixels
    and the attributes ``tx, ty, tw, th, to, classes`` at that place::

        centre = (2 sigmoid(tx, ty) - 0.5 + (x, y)) * stride
        side   = (2 sigmoid(tw, th))^2 * anchor
        score  = sigmoid(to) * sigmoid(class)

    Decoded rows hold centre, sides, objectness and class probabilities. Boxes are not clipped.

    Args:
        outputs: name to array of one row, as :class:`YoloV5` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    layout = spec.layout
    if isinstance(layout, YoloV5Decoded):
        return _decode_rows(outputs, layout, multi_label=spec.multi_label, score_threshold=score_threshold)
    scales = [
        _decode_scale(outputs, layout, i, row_hw=row_hw, multi_label=spec.multi_label, score_threshold=score_threshold)
        for i in range(len(layout.outputs))
    ]
    return join(scales)


def _decode_rows(
    outputs: Mapping[str, AnyArray], layout: YoloV5Decoded, *, multi_label: bool, score_threshold: float
) -> Candidates:
    rows = read_output(outputs, layout.output, (None, None))
    if rows.shape[1] <= BOX_AND_OBJECTNESS:
        raise ModelOutputError(f"output {layout.output!r} must have 5 + classes columns, got {rows.shape[1]}")
    picked, found = pick_rows(
        layout.output, rows, activation="none", score_threshold=score_threshold, multi_label=multi_label
    )
    boxes = found[:, :4].astype(np.float64)
    return Candidates(
        boxes=corners(layout.output, boxes[:, :2], boxes[:, 2:])[picked.of],
        scores=picked.scores,
        class_ids=picked.class_ids,
        num_classes=rows.shape[1] - BOX_AND_OBJECTNESS,
    )


def _decode_scale(
    outputs: Mapping[str, AnyArray],
    layout: YoloV5Maps,
    scale: int,
    *,
    row_hw: tuple[int, int],
    multi_label: bool,
    score_threshold: float,
) -> Candidates:
    name, stride = layout.outputs[scale], layout.strides[scale]
    anchors = np.array(layout.anchors[scale], dtype=np.float64)
    grid = _as_cells(outputs, name, len(anchors), channel_order=layout.channel_order)  # (A, h, w, 5 + C)
    require_grid(name, (grid.shape[1], grid.shape[2]), row_hw, stride)
    picked, found = pick_rows(
        name, grid, activation="sigmoid", score_threshold=score_threshold, multi_label=multi_label
    )
    anchor, y, x = picked.places
    moves = 2 * sigmoid(found[:, :4]).astype(np.float64)
    centers = (moves[:, :2] - 0.5 + np.stack((x, y), axis=1)) * stride
    sides = moves[:, 2:] ** 2 * anchors[anchor]
    return Candidates(
        boxes=corners(name, centers, sides)[picked.of],
        scores=picked.scores,
        class_ids=picked.class_ids,
        num_classes=grid.shape[3] - BOX_AND_OBJECTNESS,
    )


def _as_cells(outputs: Mapping[str, AnyArray], name: str, num_anchors: int, *, channel_order: str) -> FloatArray:
    """Read a scale as ``(A, h, w, 5 + C)``, without a copy."""
    if channel_order == "ahwc":
        grid = read_output(outputs, name, (num_anchors, None, None, None))
        if grid.shape[3] <= BOX_AND_OBJECTNESS:
            raise ModelOutputError(f"output {name!r} must have 5 + classes channels, got {grid.shape[3]}")
        return grid
    array = read_output(outputs, name, (None, None, None))
    attributes, rest = divmod(len(array), num_anchors)
    if rest or attributes <= BOX_AND_OBJECTNESS:
        raise ModelOutputError(
            f"output {name!r} must have (5 + classes) channels for each of {num_anchors} anchors, got {len(array)}"
        )
    return np.moveaxis(array.reshape(num_anchors, attributes, *array.shape[1:]), 1, -1)
