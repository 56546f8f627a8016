"""Whole detectors that answer boxes, scores and classes apart: which of a graph's outputs those are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.specs import TensorSpec

JOINED = "detections"  # the output that they become.


@dataclass(frozen=True)
class Parts:
    """The names of three outputs that list the same objects: ``(M, 4)``, ``(M,)``, ``(M,)``, or each with a batch."""

    boxes: str
    scores: str
    classes: str


def find_parts(outputs: Sequence[TensorSpec]) -> Parts | None:
    """The parts of a whole detector by their declared types: corners, floating point scores, whole-number classes."""
    for batched in (0, 1):
        boxes = [one for one in outputs if len(one.shape) == 2 + batched and one.shape[-1] == 4]
        lists = [one for one in outputs if len(one.shape) == 1 + batched]
        scores = [one for one in lists if one.dtype.startswith("float")]
        classes = [one for one in lists if one.dtype.startswith("int")]
        if len(boxes) == len(scores) == len(classes) == 1:
            return Parts(boxes[0].name, scores[0].name, classes[0].name)
    return None
