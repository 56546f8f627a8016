"""Computes once what depends on no input: shapes, anchors and scales that an exporter left as nodes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export.passes.result import PassResult

MAX_VALUES = 1_000_000  # a larger constant costs more to read than to compute.
_NEVER = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial",
    "If", "Loop", "Scan", "DequantizeLinear", "QuantizeLinear",
}  # fmt: skip


def fold_constants(model: onnx.ModelProto) -> PassResult:
    """Replace nodes whose inputs are all constants by what they compute; a node is one rewrite.

    ``f(c) = c'`` for any function of the graph: constants stay constants. Left alone are random operators, control
    flow, operators of other domains, quantisation (a runtime looks for it), what the graph answers, and results of more
    than a million values.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    overridable = {value.name for value in graph.input}
    known = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name not in overridable}
    answers = {value.name for value in graph.output}
    folded = []
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in _NEVER or answers.intersection(node.output):
            continue
        reads = [name for name in node.input if name]
        if any(name not in known for name in reads) or _has_graph(node):
            continue
        values = _evaluate(node, {name: known[name] for name in reads}, copy)
        if values is None:
            continue
        known |= values
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    old = {tensor.name for tensor in graph.initializer}
    made = {name for node in folded for name in node.output}
    for tensor in [one for one in graph.initializer if one.name not in read | overridable]:
        graph.initializer.remove(tensor)
    graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in sorted((made & read) - old))
    for value in [one for one in graph.value_info if one.name in made]:
        graph.value_info.remove(value)
    return PassResult(copy, len(folded))


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _evaluate(
    node: onnx.NodeProto, values: dict[str, np.ndarray], model: onnx.ModelProto
) -> dict[str, np.ndarray] | None:
    """What a node computes, or ``None`` where the reference evaluator cannot, or should not, do it."""
    function = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name) for name in values],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    alone = onnx.helper.make_model(function, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        answers = ReferenceEvaluator(alone).run(None, values)
    except Exception:  # noqa: BLE001, an operator that the evaluator does not know stays as it is
        return None
    arrays = [np.asarray(one) for one in answers]
    if any(one.size > MAX_VALUES for one in arrays):
        return None
    return dict(zip((name for name in node.output if name), arrays, strict=True))
