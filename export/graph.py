"""Reading an ONNX file: what goes in, what comes out, what cannot be served."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import GraphMismatchError, MissingExtraError
from pipelines.specs import TensorSpec

if TYPE_CHECKING:
    import onnx

MAX_GRAPH_BYTES = 2**31 - 1  # protobuf's own limit for one message.


def require_onnx() -> None:
    """Raise MissingExtraError where onnx is not installed."""
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError("onnx is needed to make packages: pip install 'ocella[import]'")


def load_graph(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file, with external weights taken in; raises GraphMismatchError."""
    require_onnx()
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise GraphMismatchError(f"{path} does not exist") from error
    except Exception as error:  # protobuf, checker and external-data errors share no base below Exception.
        raise GraphMismatchError(f"{path} is not a valid ONNX file: {' '.join(str(error).split())[:300]}") from error
    return model


def graph_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise a graph into one file's bytes, equal for equal graphs; raises GraphMismatchError above 2 GB."""
    if model.ByteSize() > MAX_GRAPH_BYTES:
        raise GraphMismatchError(f"the graph must be below 2 GB in one file, got {model.ByteSize():,} bytes")
    return model.SerializeToString(deterministic=True)


def inspect_graph(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs (without weights) and outputs as onnxruntime would report them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_spec(value) for value in model.graph.input if value.name not in weights)
    return inputs, tuple(_spec(value) for value in model.graph.output)


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default ONNX operator set; raises GraphMismatchError where there is none."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    raise GraphMismatchError("the graph imports no version of the default operator set")


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise GraphMismatchError(f"{value.name!r} must be a tensor, got {kind}")
    tensor = value.type.tensor_type
    dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type)).name
    shape = tuple(
        int(size.dim_value) if size.HasField("dim_value") else (size.dim_param or "?") for size in tensor.shape.dim
    )
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)
