"""FCOS: every point of a grid may lie inside an object, whose sides are so many pixels away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.activations import sigmoid
from pipelines.anchors import make_squares
from pipelines.decoders.box_coding import apply_distances, as_boxes, require_lines
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.class_table import pick
from pipelines.outputs import read_output
from pipelines.specs import Fcos
from pipelines.types import AnyArray


def decode(
    outputs: Mapping[str, AnyArray], spec: Fcos, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn distances from points into candidates (FCOS, arXiv:1904.01355, equation 1, solved for the box).

    With the point ``(x, y)`` of a cell and its distances ``l, t, r, b`` (times the map's stride where that is their
    unit), in float64 from the float32 outputs::

        point = ((column, row) + center_shift) * step
        box   = (x - l, y - t, x + r, y + b)
        score = sqrt(sigmoid(class) * sigmoid(centerness))   or, as first published, without the root

    **Every** class of a point whose score is at or above the threshold is a candidate. Neither factor exceeds 1, so
    points too far from a centre are dropped before their classes are read, and boxes are computed last.

    torchvision's model computes the same, with these differences: it wants a score **above** the threshold; it clips to
    the image without its padding; and it keeps at most 1,000 candidates of each map before suppression, where here
    ``nms.candidates`` limits all of them together.

    Args:
        outputs: name to array of one row, as :class:`Fcos` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box is not finite.
    """
    # A square as wide as the stride at every point: it holds the point and the unit of its distances.
    cells = make_squares([(s, (s,)) for s in spec.strides], row_hw, center_shift=spec.center_shift, step=spec.step)
    classes = read_output(outputs, spec.classes, (None, None))
    require_lines(spec.classes, len(classes), anchors=len(cells), row_hw=row_hw)
    centerness = sigmoid(read_output(outputs, spec.centerness, (len(cells), 1))[:, 0])
    distances = read_output(outputs, spec.distances, (len(cells), 4))

    geometric = spec.score == "geometric_mean"
    # 1e-6: a factor that float32 rounds down must not cost a candidate whose score is rounded up to the threshold.
    least = (score_threshold**2 if geometric else score_threshold) * (1 - 1e-6)
    central = np.flatnonzero(centerness >= np.float32(least))
    picked = pick(
        spec.classes,
        classes[central],
        activation="sigmoid",
        background="none",
        per="class",
        score_threshold=least,
    )
    products = picked.scores * centerness[central[picked.lines]]
    scores = np.sqrt(products) if geometric else products
    kept = scores >= np.float32(score_threshold)

    at = central[picked.lines[kept]]
    squares = cells.at(at)
    reach = distances[at].astype(np.float64)
    if spec.distance_unit == "stride":
        reach *= squares[:, 2:3] - squares[:, :1]
    boxes = apply_distances((squares[:, :2] + squares[:, 2:]) / 2, reach)
    return Candidates(
        boxes=as_boxes(spec.distances, boxes, clip_hw=row_hw if spec.clip_to_row else None),
        scores=scores[kept],
        class_ids=picked.class_ids[kept],
        num_classes=picked.num_classes,
    )
