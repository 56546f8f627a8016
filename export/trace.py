"""From a torch module to an ONNX graph with a dynamic batch, by each of torch's two exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from export.graph import load_graph, opset_of
from export.passes.strip_metadata import strip_metadata
from pipelines.errors import RecipeError

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the newest that every onnxruntime from 1.23 on runs on CPU, CUDA and TensorRT.
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
_EXAMPLE_ROWS = 2  # the exporter takes a batch of 1 for a constant.


@dataclass(frozen=True, kw_only=True)
class TraceSpec:
    """The outside of a graph.

    Attributes:
        row_shape: of one row, without the batch axis; with free sides, of the example that torch runs.
        input_name: of the only input.
        output_names: in the order in which the module answers them.
        dynamic_batch: any number of rows; else 1.
        size_multiple: height and width are free multiples of it; ``None``: they are those of ``row_shape``.
        least_side: of free sides.
        opset: of the default operator set.
    """

    row_shape: tuple[int, ...]
    input_name: str
    output_names: tuple[str, ...]
    dynamic_batch: bool = True
    size_multiple: int | None = None
    least_side: int = 2
    opset: int = OPSET


def trace(
    module: nn.Module, *, row_shape: tuple[int, ...], input_name: str, output_names: tuple[str, ...], opset: int = OPSET
) -> onnx.ModelProto:
    """Export ``module`` with a dynamic batch by torch's graph-capturing exporter; see :func:`trace_with`."""
    spec = TraceSpec(row_shape=row_shape, input_name=input_name, output_names=output_names, opset=opset)
    return trace_with("dynamo", module, spec)


def trace_with(exporter: str, module: nn.Module, spec: TraceSpec) -> onnx.ModelProto:
    """Export ``module`` in eval mode by the exporter of :data:`EXPORTERS`.

    Weights stay in the file; stack traces and local paths are taken out. Raises RecipeError where torch fails or
    answers with another opset than was asked for.
    """
    example = torch.zeros(_EXAMPLE_ROWS if spec.dynamic_batch else 1, *spec.row_shape)
    with tempfile.TemporaryDirectory(prefix="ocella-trace-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            with _quiet():
                EXPORTERS[exporter](module.eval(), example, path, spec)
        except Exception as error:  # exporter errors share no base below Exception.
            raise RecipeError(f"torch cannot export this module ({exporter}): {_first_words(error)}") from error
        model = load_graph(path)
    if opset_of(model) != spec.opset:
        raise RecipeError(f"torch must export opset {spec.opset}, it exported {opset_of(model)}")
    return strip_metadata(model).model


def _dynamo(module: nn.Module, example: torch.Tensor, path: Path, spec: TraceSpec) -> None:
    axes: dict[int, Any] = {0: torch.export.Dim(BATCH)} if spec.dynamic_batch else {}
    if spec.size_multiple is not None:
        # The range is the exporter's own condition for a dimension that is a multiple of something.
        least = -(-spec.least_side // spec.size_multiple)
        for axis, name in ((2, HEIGHT), (3, WIDTH)):
            unit = torch.export.Dim(name, min=max(least, 2), max=16_384 // spec.size_multiple)
            axes[axis] = unit if spec.size_multiple == 1 else spec.size_multiple * unit
    torch.onnx.export(
        module,
        (example,),
        path,
        input_names=[spec.input_name],
        output_names=list(spec.output_names),
        dynamic_shapes=(axes,),
        opset_version=spec.opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _torchscript(module: nn.Module, example: torch.Tensor, path: Path, spec: TraceSpec) -> None:
    inside: dict[int, str] = {0: BATCH} if spec.dynamic_batch else {}
    outside = dict(inside)
    if spec.size_multiple is not None:
        inside |= {2: HEIGHT, 3: WIDTH}
    torch.onnx.export(
        module,
        (example,),
        path,
        input_names=[spec.input_name],
        output_names=list(spec.output_names),
        dynamic_axes={spec.input_name: inside, **dict.fromkeys(spec.output_names, outside)} if inside else None,
        opset_version=spec.opset,
        dynamo=False,
        verbose=False,
    )


EXPORTERS: Mapping[str, Callable[[nn.Module, torch.Tensor, Path, TraceSpec], None]] = {
    "dynamo": _dynamo,  # captures the graph with symbolic sizes: refuses what it cannot prove
    "torchscript": _torchscript,  # records one run: takes more, and bakes in what Python computed on the way
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither the exporters' deprecation warnings nor their progress are the caller's."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _first_words(error: Exception) -> str:
    """The innermost cause says what happened; the exporter's own report around it is pages of advice."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return " ".join(str(cause).split())[:300] or type(cause).__name__
