"""Makes fixed input sizes dynamic: batch, and height and width where asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from export.passes.result import PassResult
from pipelines.errors import RecipeError

BATCH = "batch"
_CONTROL_FLOW = {"If", "Loop", "Scan"}


def dynamic_batch(model: onnx.ModelProto, *, axes: Mapping[int, str]) -> PassResult:
    """Give axes of the only input a symbol: ``{0: "batch"}``, or with ``2: "height", 3: "width"``.

    Outputs get ``batch`` as axis 0 and inferred or symbolic sizes elsewhere. One rewrite is an input axis that was
    fixed, or a node whose constant held the old batch size:

    - ``Reshape(x, [B, ...])`` becomes ``Reshape(x, [0, ...])``, since 0 copies the size of the same axis of ``x``;
    - ``Resize(x, sizes=[B, C, h, w])`` becomes ``Resize(x, sizes=concat(shape(x)[:2], [h, w]))``.

    Refuses control flow, several inputs, a batch folded into another axis, and baked heights and widths where those are
    to become dynamic. Stale value shapes are dropped. That the numbers stay is proven by running, not by this pass:
    see ``export.verify``.
    """
    if not axes:
        return PassResult(model, 0)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        return PassResult(model, 0, f"it must have one input, it has {[value.name for value in inputs]}")
    flow = [node for node in model.graph.node if node.op_type in _CONTROL_FLOW]
    if flow:
        return PassResult(model, 0, f"{_title(flow[0])} is control flow")
    old = inputs[0].type.tensor_type.shape.dim
    if max(axes) >= len(old):
        return PassResult(model, 0, f"input {inputs[0].name!r} has {len(old)} axes, axis {max(axes)} was asked for")
    fixed = {axis: int(old[axis].dim_value) for axis in axes if old[axis].HasField("dim_value")}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        count = len(fixed) + _free_constants(copy, batch=fixed.get(0), spatial=bool(fixed.keys() - {0}))
    except _RefusedError as refusal:
        return PassResult(model, 0, str(refusal))
    for axis, symbol in axes.items():
        dims = next(value for value in copy.graph.input if value.name == inputs[0].name).type.tensor_type.shape.dim
        dims[axis].dim_param = symbol
    _relabel_outputs(copy)
    return PassResult(copy, count)


class _RefusedError(RecipeError):
    """Raised and caught inside the pass."""


def _title(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return {name: numpy_helper.to_array(tensor) for name, tensor in found.items() if len(tensor.dims) == 1}


def _free_constants(model: onnx.ModelProto, *, batch: int | None, spatial: bool) -> int:
    """Rewrite the nodes whose constants hold the batch; raises _RefusedError."""
    constants = _constants(model.graph)
    count, i = 0, 0
    while i < len(model.graph.node):
        node = model.graph.node[i]
        if node.op_type == "Reshape" and node.input[1] in constants and batch is not None:
            count += _free_reshape(model.graph, node, constants[node.input[1]], batch)
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3] in constants:
            if spatial:
                raise _RefusedError(f"{_title(node)} bakes the height and width {constants[node.input[3]].tolist()}")
            added = _free_resize(model, node, constants[node.input[3]], at=i)
            count, i = count + bool(added), i + added
        elif node.op_type in ("Expand", "Tile") and node.input[1] in constants:
            shape = constants[node.input[1]].tolist()
            if batch is not None and batch > 1 and batch in shape:
                raise _RefusedError(f"{_title(node)} repeats up to the batch of {batch}: {shape}")
        i += 1
    return count


def _free_reshape(graph: onnx.GraphProto, node: onnx.NodeProto, shape: np.ndarray, batch: int) -> int:
    if len(shape) == 0 or shape[0] in (0, -1):
        return 0
    if shape[0] != batch:
        raise _RefusedError(f"{_title(node)} folds the batch of {batch} into another axis: {shape.tolist()}")
    if any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
        raise _RefusedError(f"{_title(node)} has allowzero, so a size cannot be copied")
    name = f"{node.output[0]}_shape_any_{BATCH}"
    graph.initializer.append(numpy_helper.from_array(np.concatenate([[0], shape[1:]]).astype(np.int64), name))
    node.input[1] = name
    return 1


def _free_resize(model: onnx.ModelProto, node: onnx.NodeProto, sizes: np.ndarray, *, at: int) -> int:
    """Let Resize take batch and channels from its input; returns the nodes put before it."""
    if len(sizes) != 4 or any(attribute.name == "axes" for attribute in node.attribute):
        return 0
    stem = f"{node.output[0]}_any_{BATCH}"
    graph = model.graph
    for suffix, values in (("start", [0]), ("end", [2]), ("hw", sizes[2:])):
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.int64), f"{stem}_{suffix}"))
    added = (
        helper.make_node("Shape", [node.input[0]], [f"{stem}_shape"]),
        helper.make_node("Slice", [f"{stem}_shape", f"{stem}_start", f"{stem}_end"], [f"{stem}_lead"]),
        helper.make_node("Concat", [f"{stem}_lead", f"{stem}_hw"], [f"{stem}_sizes"], axis=0),
    )
    node.input[3] = f"{stem}_sizes"
    for offset, extra in enumerate(added):
        graph.node.insert(at + offset, extra)
    return len(added)


def _relabel_outputs(model: onnx.ModelProto) -> None:
    """Drop stale shapes and infer the outputs' anew; axis 0 is the batch, an unknown size gets a symbol of its own."""
    del model.graph.value_info[:]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.output}
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = {value.name: value for value in shape_inference.infer_shapes(model).graph.output}
    for value in model.graph.output:
        known = inferred[value.name].type.tensor_type.shape.dim
        for axis in range(ranks[value.name]):
            size = value.type.tensor_type.shape.dim.add()
            if axis == 0:
                size.dim_param = BATCH
            elif axis < len(known) and known[axis].HasField("dim_value"):
                size.dim_value = known[axis].dim_value
            else:
                size.dim_param = f"{value.name}_{axis}"
