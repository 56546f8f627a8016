"""Tiny ONNX graphs of heads that list a line a cell, the cells of all strides one after the other; batch is dynamic.

Their weights are fixed and random, their photos are normalised as by ``image_spec()``, as in ``tests/graphs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tests.builders import NUM_CLASSES
from tests.graphs import GraphBuilder

STRIDES = (8, 16)


@dataclass(frozen=True)
class Columns:
    """Some columns of a line: random features of the photo, times ``scale``, plus ``shift``, through ``through``."""

    count: int
    scale: float = 1.0
    shift: float = 0.0
    through: str | None = None


def listed_graph(
    outputs: Mapping[str, Sequence[Columns]], *, seed: int, strides: Sequence[int] = STRIDES, per_cell: int = 1
) -> onnx.ModelProto:
    """``(per_cell * cells of all strides, columns)`` for each output."""
    graph = GraphBuilder(seed)
    features = [
        graph.add("Tanh", graph.convolve(_padded(graph, stride), (3, 16), kernel=stride, stride=stride, gain=2))
        for stride in strides
    ]
    for name, parts in outputs.items():
        made = [_part(graph, features, columns, per_cell) for columns in parts]
        graph.add("Concat", *made, output=name, axis=2)
    return graph.finish([(name, ("lines", sum(part.count for part in parts))) for name, parts in outputs.items()])


def _padded(graph: GraphBuilder, stride: int) -> str:
    """The photo with so many pixels behind it that a stride makes ceil(side / stride) cells."""
    pads = graph.constant(np.array((0, 0, 0, 0, 0, 0, stride - 1, stride - 1)), np.int64)
    return graph.add("Pad", graph.pixels, pads)


def _part(graph: GraphBuilder, features: Sequence[str], columns: Columns, per_cell: int) -> str:
    """``(batch, lines, count)`` of one group of columns."""
    shape = graph.constant(np.array((0, -1, columns.count)), np.int64)
    levels = []
    for map_of in features:
        values = graph.convolve(map_of, (16, per_cell * columns.count), gain=2)
        values = graph.affine(values, columns.scale, columns.shift)
        levels.append(graph.add("Reshape", graph.add("Transpose", values, perm=[0, 2, 3, 1]), shape))
    joined = graph.add("Concat", *levels, axis=1) if len(levels) > 1 else levels[0]
    return graph.add(columns.through, joined) if columns.through else joined


def yolox_graph() -> onnx.ModelProto:
    """``rows (lines, 15)``: raw boxes, objectness and classes as probabilities."""
    classes = Columns(1 + NUM_CLASSES, scale=2, through="Sigmoid")
    return listed_graph({"rows": (Columns(2, 0.5, 0.5), Columns(2, 0.4, 1.2), classes)}, seed=11)


def end_to_end_graph() -> onnx.ModelProto:
    """``rows (lines, 6)``: x1, y1, x2, y2 as fractions of the row, x1 < 0.5 < x2, score, class."""
    near, far = Columns(2, 0.5, -1.5, "Sigmoid"), Columns(2, 0.5, 1.5, "Sigmoid")
    score = Columns(1, 2, 0, "Sigmoid")
    whole = Columns(1, 1.5, 4.5, "Round")
    return listed_graph({"rows": (near, far, score, whole)}, seed=12, strides=(16,))


def box_delta_graph(*, per_cell: int, columns: int, deltas: int = 4) -> onnx.ModelProto:
    """``classes (lines, columns)`` logits and ``deltas (lines, deltas)``."""
    outputs = {"classes": (Columns(columns, 2.5),), "deltas": (Columns(deltas, 0.8),)}
    return listed_graph(outputs, seed=13, per_cell=per_cell)


def fcos_graph() -> onnx.ModelProto:
    """``classes (lines, 10)``, ``distances (lines, 4)`` in strides, ``centerness (lines, 1)``."""
    outputs = {
        "classes": (Columns(NUM_CLASSES, 2),),
        "distances": (Columns(4, 0.6, 2, "Relu"),),
        "centerness": (Columns(1, 1, 1),),
    }
    return listed_graph(outputs, seed=14)


def queries_graph() -> onnx.ModelProto:
    """``classes (lines, 11)`` logits, ``boxes (lines, 4)`` cxcywh as fractions of the row."""
    boxes = (Columns(2, 0.6, 0, "Sigmoid"), Columns(2, 0.5, -1.2, "Sigmoid"))
    return listed_graph({"classes": (Columns(NUM_CLASSES + 1, 1.2),), "boxes": boxes}, seed=15, strides=(16,))


def faces_graph(*, per_cell: int, columns: int) -> onnx.ModelProto:
    """``classes (lines, columns)`` logits, ``boxes (lines, 4)`` above 0, ``landmarks (lines, 10)``."""
    outputs = {
        "classes": (Columns(columns, 2),),
        "boxes": (Columns(4, 0.5, 1.5, "Relu"),),
        "landmarks": (Columns(10, 0.5),),
    }
    return listed_graph(outputs, seed=16, per_cell=per_cell)
