"""A graph that echoes a tensor of every dtype that ONNX and the protocol share, served in the place of a package's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from pipelines.session import OnnxSession
from tests.serving.servers import swap_session

ECHO = "echo"
# Datatype of the protocol and ONNX's number of it.
ECHOED = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def echo_graph() -> onnx.ModelProto:
    """``in_<datatype>`` to ``out_<datatype>``, each ``(batch, size)``."""
    shape = ["batch", "size"]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in ECHOED],
        "echo",
        [helper.make_tensor_value_info(f"in_{name}", dtype, shape) for name, dtype in ECHOED.items()],
        [helper.make_tensor_value_info(f"out_{name}", dtype, shape) for name, dtype in ECHOED.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def serve_echo(monkeypatch: Any, folder: Path) -> None:
    """Let servers started from here on run the echo graph as model ``echo``.

    A package holds image models alone, so the graph takes the place of one that was loaded.
    """
    path = folder / "echo.onnx"
    onnx.save(echo_graph(), path)
    swap_session(monkeypatch, ECHO, lambda _: OnnxSession(path))
