"""YOLOX rows: one possible object a cell, the cells of all strides in one output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.decoders.candidates import Candidates, join
from pipelines.decoders.dense import BOX_AND_OBJECTNESS, cell_xy, corners, grids, pick_rows
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output
from pipelines.specs import Yolox
from pipelines.types import AnyArray, FloatArray


def decode(
    outputs: Mapping[str, AnyArray], spec: Yolox, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn YOLOX outputs (arXiv:2107.08430, section 2.1, "anchor-free") into candidates.

    With cell ``(x, y)`` and the attributes ``tx, ty, tw, th, to, classes`` at that place::

        centre = ((x, y) + (tx, ty)) * stride
        side   = exp(tw, th) * stride
        score  = P(objectness) * P(class)         P: sigmoid, unless the graph has applied it

    Cells come stride by stride, each row-major, ``row // stride`` a side as in the published post-processing. Boxes
    are not clipped.

    Args:
        outputs: name to array of one row, as :class:`Yolox` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: the output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    cells = grids(row_hw, spec.strides)
    sizes = [height * width for height, width in cells]
    rows = read_output(outputs, spec.output, (sum(sizes), None))
    if rows.shape[1] <= BOX_AND_OBJECTNESS:
        raise ModelOutputError(f"output {spec.output!r} must have 5 + classes columns, got {rows.shape[1]}")
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    scales = [
        _decode_scale(part, spec, stride=stride, width=width, score_threshold=score_threshold)
        for part, stride, (_, width) in zip(parts, spec.strides, cells, strict=True)
    ]
    return join(scales)


def _decode_scale(rows: FloatArray, spec: Yolox, *, stride: int, width: int, score_threshold: float) -> Candidates:
    picked, found = pick_rows(
        spec.output,
        rows,
        activation=spec.activation,
        score_threshold=score_threshold,
        multi_label=spec.multi_label,
    )
    attributes = found[:, :4].astype(np.float64)
    centers = (cell_xy(picked.places[0], width) + attributes[:, :2]) * stride
    with np.errstate(over="ignore"):  # an infinite side is refused by corners().
        sides = np.exp(attributes[:, 2:]) * stride
    return Candidates(
        boxes=corners(spec.output, centers, sides)[picked.of],
        scores=picked.scores,
        class_ids=picked.class_ids,
        num_classes=rows.shape[1] - BOX_AND_OBJECTNESS,
    )
