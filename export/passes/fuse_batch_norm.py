"""Fuses batch-norm into the convolution before it: one node less to run, and one rounding less."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper

from export.passes.result import PassResult

_EPSILON = 1e-5  # of BatchNormalization where the attribute is not written.


def fuse_batch_norm(model: onnx.ModelProto) -> PassResult:
    """Replace ``BatchNormalization(Conv(x))`` by one ``Conv``; a pair is one rewrite.

    With the convolution ``W * x + b`` and batch-norm ``(y - mean) * gamma / sqrt(var + eps) + beta``::

        W' = W * k      b' = (b - mean) * k + beta      k = gamma / sqrt(var + eps)   (per output channel)

    in float64, rounded once. A pair is left alone where the convolution's output is read elsewhere too or is an output
    of the graph, where a weight is not constant, or where batch-norm is in training mode.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    overridable = {value.name for value in graph.input}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    fused = []
    for norm in graph.node:
        conv = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if conv is None or readers[conv.output[0]] != 1 or _trains(norm):
            continue
        constants = [*conv.input[1:], *norm.input[1:5]]
        if any(name not in weights or name in overridable for name in constants):
            continue
        _fuse(graph, conv, norm, {name: numpy_helper.to_array(weights[name]) for name in constants})
        fused.append(norm)
    for norm in fused:
        graph.node.remove(norm)
    _drop_unread(graph)
    return PassResult(copy, len(fused))


def _trains(norm: onnx.NodeProto) -> bool:
    return len(norm.output) > 1 or any(a.name == "training_mode" and a.i for a in norm.attribute)


def _fuse(graph: onnx.GraphProto, conv: onnx.NodeProto, norm: onnx.NodeProto, values: dict[str, np.ndarray]) -> None:
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), _EPSILON)
    gamma, beta, mean, variance = (values[name].astype(np.float64) for name in norm.input[1:5])
    weight = values[conv.input[1]]
    bias = values[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else np.zeros(len(weight))
    factor = gamma / np.sqrt(variance + epsilon)
    scaled = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    moved = ((bias - mean) * factor + beta).astype(weight.dtype)
    names = f"{norm.output[0]}_weight", f"{norm.output[0]}_bias"
    graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip((scaled, moved), names, strict=True))
    inputs = [conv.input[0], *names]
    del conv.input[:]
    conv.input.extend(inputs)
    conv.output[0] = norm.output[0]


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop weights and value shapes that nothing reads any more."""
    made = {name for node in graph.node for name in node.output}
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    inputs = {value.name for value in graph.input}
    for tensor in [one for one in graph.initializer if one.name not in read | inputs]:
        graph.initializer.remove(tensor)
    for value in [one for one in graph.value_info if one.name not in made]:
        graph.value_info.remove(value)
