"""Keeps some outputs of a graph and what they need; the rest would be computed for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from export.passes.result import PassResult


def prune_outputs(model: onnx.ModelProto, keep: Sequence[str]) -> PassResult:
    """Keep the outputs named ``keep``, in that order; a removed node is one rewrite.

    Nodes, weights and value shapes that no kept output reaches go. Inputs all stay: they are the caller's contract.
    """
    by_name = {value.name: value for value in model.graph.output}
    unknown = [name for name in keep if name not in by_name]
    if unknown or not keep:
        wanted = repr(unknown[0]) if unknown else "none at all"
        return PassResult(model, 0, f"outputs to keep must be some of {sorted(by_name)}, got {wanted}")
    nodes, values = _reachable(model.graph, keep)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    _keep(graph.node, [node for node, used in zip(model.graph.node, nodes, strict=True) if used])
    _keep(graph.output, [by_name[name] for name in keep])
    _keep(graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in values])
    _keep(graph.value_info, [value for value in model.graph.value_info if value.name in values])
    return PassResult(copy, len(nodes) - sum(nodes))


def _keep(field: Any, kept: Sequence[Any]) -> None:
    del field[:]
    field.extend(kept)


def _reachable(graph: onnx.GraphProto, outputs: Sequence[str]) -> tuple[list[bool], set[str]]:
    """Which nodes, and which value names, the outputs depend on; nodes stand in topological order by the ONNX rules."""
    needed = set(outputs)
    used = [False] * len(graph.node)
    for i in range(len(graph.node) - 1, -1, -1):
        if needed.intersection(graph.node[i].output):
            used[i] = True
            needed.update(_reads(graph.node[i]))
    produced = {name for node, keep in zip(graph.node, used, strict=True) if keep for name in node.output}
    return used, needed | produced


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, with those that its subgraphs take from outside."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in ((attribute.g,) if attribute.HasField("g") else ()) + tuple(attribute.graphs):
            for inner in graph.node:
                names |= _reads(inner)
            names.update(value.name for value in graph.output)
    return names - {""}
