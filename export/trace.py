"""From a torch module to an ONNX graph with a dynamic batch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from export.graph import load_graph, opset_of
from export.passes.strip_metadata import strip_metadata
from pipelines.errors import RecipeError

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the newest that every onnxruntime from 1.23 on runs on CPU, CUDA and TensorRT.
_EXAMPLE_ROWS = 2  # the exporter takes a batch of 1 for a constant.


def trace(
    module: nn.Module, *, row_shape: tuple[int, ...], input_name: str, output_names: tuple[str, ...], opset: int = OPSET
) -> onnx.ModelProto:
    """Export ``module`` (one input of ``row_shape`` with a batch before it) by torch's graph-capturing exporter.

    Weights stay in the file; stack traces and local paths are taken out. Raises RecipeError where torch fails or
    answers with another opset than was asked for.
    """
    example = torch.zeros(_EXAMPLE_ROWS, *row_shape)
    with tempfile.TemporaryDirectory(prefix="ocella-trace-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside torch's own exporter.
                torch.onnx.export(
                    module.eval(),
                    (example,),
                    path,
                    input_names=[input_name],
                    output_names=list(output_names),
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    opset_version=opset,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        except Exception as error:  # exporter errors share no base below Exception.
            raise RecipeError(f"torch cannot export this module: {' '.join(str(error).split())[:300]}") from error
        model = load_graph(path)
    if opset_of(model) != opset:
        raise RecipeError(f"torch must export opset {opset}, it exported {opset_of(model)}")
    return strip_metadata(model).model
