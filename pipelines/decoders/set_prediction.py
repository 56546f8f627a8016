"""Set prediction: every query of a transformer is one object, or none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.decoders.box_coding import as_boxes
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.class_table import pick
from pipelines.nms import best_first
from pipelines.outputs import read_output
from pipelines.specs import SetPrediction
from pipelines.types import AnyArray


def decode(
    outputs: Mapping[str, AnyArray], spec: SetPrediction, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn queries into candidates (DETR, arXiv:2005.12872; Deformable DETR, arXiv:2010.04159; RT-DETR, 2304.08069).

    DETR: the softmax of a query over all classes and "no object", of which the best class is its candidate. The later
    two: the sigmoid of each class of each query is a candidate's score, and the ``top_k`` best of all count, so one
    query may give several. A box is ``centre -+ side / 2`` times the row's sides, not clipped.

    Scores are at or above the threshold; the published code wants them above it. Of equal scores at the limit of
    ``top_k``, the earlier query, then the lower class stays.

    Args:
        outputs: name to array of one row, as :class:`SetPrediction` describes.
        spec: the decoder's constants.
        row_hw: the row's size. A model with a pixel mask, whose boxes are fractions of the image without its padding,
            must be given rows without padding.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    classes = read_output(outputs, spec.classes, (None, None))
    boxes_cxcywh = read_output(outputs, spec.boxes, (len(classes), 4))
    picked = pick(
        spec.classes,
        classes,
        activation=spec.class_activation,
        background=spec.background,
        per="line" if spec.per == "query" else "class",
        score_threshold=score_threshold,
    )
    # The best of all that count are the best of those at or above the threshold: the order of the two does not matter.
    kept = slice(None) if spec.top_k is None else best_first(picked.scores, spec.top_k)
    found = boxes_cxcywh[picked.lines[kept]].astype(np.float64)
    centers, halves = found[:, :2] * row_hw[::-1], found[:, 2:] * row_hw[::-1] / 2
    return Candidates(
        boxes=as_boxes(spec.boxes, np.concatenate((centers - halves, centers + halves), axis=1)),
        scores=picked.scores[kept],
        class_ids=picked.class_ids[kept],
        num_classes=picked.num_classes,
    )
