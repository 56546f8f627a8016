"""Box deltas: every reference box, moved and scaled, may be an object of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.anchors import Doubles, make_anchors
from pipelines.decoders.box_coding import apply_deltas, as_boxes, require_lines
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.class_table import Picked, pick
from pipelines.outputs import read_output
from pipelines.specs import BoxDelta
from pipelines.types import AnyArray, FloatArray

References = Callable[[NDArray[np.int64]], Doubles]


def decode(
    outputs: Mapping[str, AnyArray], spec: BoxDelta, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn offsets from anchors or proposals into candidates.

    SSD (arXiv:1512.02325, equation 2, with the variances of its code), RetinaNet (arXiv:1708.02002) and the second
    stage of Faster R-CNN (arXiv:1506.01497, equation 2); the formula stands at :func:`apply_deltas`, the anchors' at
    :class:`SizedAnchors` and :class:`DefaultBoxes`. Computed in float64 from the float32 outputs.

    **Every** class of a reference box that is at or above the threshold is a candidate. Boxes are computed for these
    alone. Class ids do not count the background: with background ``first``, id 0 is column 1.

    torchvision's models compute the same, with these differences: they want a score **above** the threshold; they clip
    to the image without its padding; and before suppression RetinaNet keeps at most 1,000 candidates of each feature
    map, SSD at most 400 (SSDlite 300) of each class, where here ``nms.candidates`` limits all of them together. Results
    are equal where none of these limits binds.

    Args:
        outputs: name to array of one row, as :class:`BoxDelta` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    references, count = _references(outputs, spec, row_hw)
    # No proposals are an answer, too: that the first stage found nothing.
    classes = read_output(outputs, spec.classes, (None if count else 0, None))
    require_lines(spec.classes, len(classes), anchors=count, row_hw=row_hw)
    picked = pick(
        spec.classes,
        classes,
        activation=spec.class_activation,
        background=spec.background,
        per="class",
        score_threshold=score_threshold,
    )
    deltas = _deltas_of(picked, outputs, spec, columns=classes.shape[1], count=count)
    boxes = as_boxes(
        spec.deltas,
        apply_deltas(references(picked.lines), deltas, weights=spec.weights, max_log_scale=spec.max_log_scale),
        clip_hw=row_hw if spec.clip_to_row else None,
    )
    large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= spec.min_side if spec.min_side else slice(None)
    return Candidates(
        boxes=boxes[large],
        scores=picked.scores[large],
        class_ids=picked.class_ids[large],
        num_classes=picked.num_classes,
    )


def _references(outputs: Mapping[str, AnyArray], spec: BoxDelta, row_hw: tuple[int, int]) -> tuple[References, int]:
    """How to get the reference boxes at given indices, and how many there are."""
    if spec.anchors is not None:
        anchors = make_anchors(spec.anchors, row_hw)
        return anchors.at, len(anchors)
    assert spec.proposals is not None  # the spec has one of the two.
    empty = spec.proposals in outputs and outputs[spec.proposals].shape[:1] == (0,)
    proposals = read_output(outputs, spec.proposals, (0 if empty else None, 4)).astype(np.float64)
    return proposals.__getitem__, len(proposals)


def _deltas_of(
    picked: Picked, outputs: Mapping[str, AnyArray], spec: BoxDelta, *, columns: int, count: int
) -> FloatArray:
    """The ``(K, 4)`` deltas of what was picked."""
    if spec.deltas_per == "anchor":
        return read_output(outputs, spec.deltas, (count, 4))[picked.lines]
    boxes = columns if spec.deltas_per == "column" else picked.num_classes
    deltas = read_output(outputs, spec.deltas, (count, 4 * boxes)).reshape(count, boxes, 4)
    shift = 1 if spec.deltas_per == "column" and spec.background == "first" else 0
    return deltas[picked.lines, picked.class_ids + shift]
