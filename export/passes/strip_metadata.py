"""Removes doc strings and metadata, where exporters leave stack traces and local paths; the numbers stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import onnx

from export.passes.result import PassResult


def strip_metadata(model: onnx.ModelProto, *, keep: Collection[str] = ()) -> PassResult:
    """Drop every doc string and metadata entry, in subgraphs and functions too; one removed text is one rewrite.

    ``keep`` names entries of the model's own metadata that stay (labels are often kept there).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [(entry.key, entry.value) for entry in copy.metadata_props if entry.key in keep]
    count = sum(_clear(message) for message in _messages(copy)) - len(kept)
    for key, value in kept:
        copy.metadata_props.add(key=key, value=value)
    return PassResult(copy, count)


def _clear(message: Any) -> int:
    fields = {field.name for field in message.DESCRIPTOR.fields}
    count = 0
    if "metadata_props" in fields:
        count += len(message.metadata_props)
        message.ClearField("metadata_props")
    if "doc_string" in fields and message.doc_string:
        count += 1
        message.ClearField("doc_string")
    return count


def _messages(model: onnx.ModelProto) -> Iterator[Any]:
    yield model
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield function
        yield from function.value_info
        for node in function.node:
            yield from _in_node(node)


def _in_graph(graph: onnx.GraphProto) -> Iterator[Any]:
    yield graph
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for node in graph.node:
        yield from _in_node(node)


def _in_node(node: onnx.NodeProto) -> Iterator[Any]:
    yield node
    for attribute in node.attribute:
        yield attribute
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t
        for graph in ((attribute.g,) if attribute.HasField("g") else ()) + tuple(attribute.graphs):
            yield from _in_graph(graph)
