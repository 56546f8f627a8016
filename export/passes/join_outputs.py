"""Joins the boxes, scores and classes of a whole detector to the one output that a head can read."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.foreign.whole_detector import JOINED, Parts
from export.graph import opset_of
from export.passes.result import PassResult

_BATCHED_ROW = "ocella_rows"
_AXES_AS_INPUT = 13  # opset from which Squeeze and Unsqueeze take their axes as an input.


def join_outputs(model: onnx.ModelProto, parts: Parts) -> PassResult:
    """Put the parts side by side as ``detections (batch, M, 6)``: x1, y1, x2, y2, score, class.

    It becomes the only output: ``concat(boxes, scores[..., None], float(classes)[..., None])``, with a batch axis of 1
    where the parts have none. An input ``(C, h, w)`` without a batch axis, which is how torchvision's detectors take
    an image, gets one of 1. One rewrite is counted for the outputs, one for the input.
    """
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.output}
    missing = [name for name in (parts.boxes, parts.scores, parts.classes) if name not in ranks]
    if missing:
        return PassResult(model, 0, f"the graph has no output {missing[0]!r}, it has {sorted(ranks)}")
    batched = ranks[parts.boxes] == 3
    if ranks[parts.boxes] not in (2, 3) or {ranks[parts.scores], ranks[parts.classes]} != {ranks[parts.boxes] - 1}:
        return PassResult(model, 0, f"boxes must have one axis more than scores and classes, got {ranks}")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    build = _Nodes(copy)
    last = 2 if batched else 1
    columns = [parts.boxes, build.unsqueeze(parts.scores, last)]
    columns.append(build.unsqueeze(build.node("Cast", parts.classes, to=TensorProto.FLOAT), last))
    joined = build.node("Concat", *columns, axis=last)
    build.unsqueeze(joined, 0, output=JOINED) if not batched else build.node("Identity", joined, output=JOINED)
    del copy.graph.output[:]
    copy.graph.output.append(
        helper.make_tensor_value_info(JOINED, TensorProto.FLOAT, ("batch" if batched else 1, "objects", 6))
    )
    return PassResult(copy, 1 + _add_batch(copy, build, batched=batched))


class _Nodes:
    """Nodes at the end of a graph under rewriting; every method returns the name of what it adds."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._as_input = opset_of(model) >= _AXES_AS_INPUT
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}

    def fresh(self, stem: str) -> str:
        name = next(
            f"ocella_{stem}_{i}" for i in range(len(self._taken) + 1) if f"ocella_{stem}_{i}" not in self._taken
        )
        self._taken.add(name)
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or self.fresh(operator.lower())
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def unsqueeze(self, value: str, axis: int, *, output: str | None = None) -> str:
        return self.along("Unsqueeze", value, axis, output=output)

    def along(self, operator: str, value: str, axis: int, *, output: str | None = None) -> str:
        if not self._as_input:
            return self.node(operator, value, output=output, axes=[axis])
        axes = self.fresh("axes")
        self._graph.initializer.append(numpy_helper.from_array(np.array([axis], np.int64), axes))
        return self.node(operator, value, axes, output=output)


def _add_batch(model: onnx.ModelProto, build: _Nodes, *, batched: bool) -> int:
    """Give the only input a batch axis of 1 where it has none; a declared batch becomes 1 where outputs have none."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        return 0
    old = inputs[0]
    dims = old.type.tensor_type.shape.dim
    if len(dims) == 4 and not batched:
        dims[0].dim_value = 1
        return 1
    if len(dims) != 3:
        return 0
    sizes = [
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or f"axis_{i}") for i, dim in enumerate(dims)
    ]
    new = helper.make_tensor_value_info(_BATCHED_ROW, old.type.tensor_type.elem_type, [1, *sizes])
    name = old.name
    for i, value in enumerate(model.graph.input):
        if value.name == name:
            model.graph.input[i].CopyFrom(new)
    build.along("Squeeze", _BATCHED_ROW, 0, output=name)
    model.graph.node.insert(0, model.graph.node.pop())  # before everything that reads it.
    return 1
