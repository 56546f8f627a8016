"""Small ONNX graphs written as text, and ways to run them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import parser

from export.graph import graph_bytes
from pipelines.types import AnyArray


def parse(body: str, *, opset: int = 17) -> onnx.ModelProto:
    """A checked model of one graph in ONNX's own text form."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, value: AnyArray) -> list[AnyArray]:
    """All outputs for the only input, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph_bytes(model), options, providers=["CPUExecutionProvider"])
    weights = {tensor.name for tensor in model.graph.initializer}
    name = next(item.name for item in model.graph.input if item.name not in weights)
    outputs: list[AnyArray] = session.run(None, {name: value})
    return outputs


def pixels(*shape: int, seed: int = 0) -> AnyArray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
