"""Detectors that settle their overlaps in the graph: final boxes, scores and classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.decoders.candidates import Candidates
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output, require_finite, require_probabilities
from pipelines.specs import EndToEnd
from pipelines.types import AnyArray, FloatArray

_COLUMNS = 6


def decode(
    outputs: Mapping[str, AnyArray], spec: EndToEnd, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn rows x1, y1, x2, y2, score, class (YOLOv10, arXiv:2405.14458, section 3.1) into candidates.

    Rows below the threshold are padding: nothing of them is used. A graph that pads nothing may answer no row at all.
    The rest are answered in the order of the output, not clipped.

    Args:
        outputs: name to array of one row, as :class:`EndToEnd` describes.
        spec: the decoder's constants.
        row_hw: the row's size, by which normalised boxes are multiplied.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: the output is missing or has the wrong shape; or, of a row at or above the threshold, the
            score is not a probability, the class is no whole number below ``num_classes``, or the box is not finite.
    """
    rows = _read_rows(outputs, spec.output)
    rows = rows[rows[:, 4] >= np.float32(score_threshold)]
    if len(rows):
        require_probabilities(spec.output, rows[:, 4])
        _require_classes(spec, rows[:, 5])
    boxes = rows[:, :4]
    if spec.unit == "normalized":
        with np.errstate(over="ignore"):  # infinity is refused below.
            boxes = (boxes * np.array(row_hw[::-1] * 2, np.float64)).astype(np.float32)
        require_finite(f"boxes from output {spec.output!r}", boxes)
    return Candidates(
        boxes=boxes, scores=rows[:, 4], class_ids=rows[:, 5].astype(np.int64), num_classes=spec.num_classes
    )


def _read_rows(outputs: Mapping[str, AnyArray], name: str) -> FloatArray:
    if name in outputs and outputs[name].shape == (0, _COLUMNS):
        return np.empty((0, _COLUMNS), np.float32)
    return read_output(outputs, name, (None, _COLUMNS))


def _require_classes(spec: EndToEnd, class_ids: FloatArray) -> None:
    wrong = (class_ids < 0) | (class_ids >= spec.num_classes) | (class_ids != np.floor(class_ids))
    if wrong.any():
        raise ModelOutputError(
            f"output {spec.output!r} must hold whole class numbers from 0 to {spec.num_classes - 1} in column 5, "
            f"got {class_ids[wrong][0]:g}"
        )
