"""Execution providers as ``deploy.toml`` chooses them, in the words of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.session import CUDA, TENSORRT, SessionOptions
from serving.accelerators import Cuda, Shapes, TensorRt
from serving.deploy import Runtime
from serving.memory import MIB


def session_options(runtime: Runtime, *, model_folder: Path) -> SessionOptions:
    """How a graph is run under ``runtime``; relative paths start from the ``model_folder``."""
    options: dict[str, Mapping[str, str]] = {}
    if CUDA in runtime.providers:
        options[CUDA] = cuda_options(runtime.cuda or Cuda())
    if TENSORRT in runtime.providers:
        options[TENSORRT] = tensorrt_options(runtime.tensorrt or TensorRt(), model_folder=model_folder)
    return SessionOptions(
        providers=runtime.providers,
        provider_options=options,
        require=runtime.require,
        intra_op_threads=runtime.intra_op_threads,
        arena=runtime.arena,
        most_shapes=(runtime.cuda or Cuda()).shapes,
    )


def cuda_options(cuda: Cuda) -> dict[str, str]:
    """Options of CUDAExecutionProvider."""
    options = {
        "device_id": str(cuda.device_id),
        "cudnn_conv_algo_search": cuda.conv_search,
        "prefer_nhwc": _flag(on=cuda.nhwc),
        "use_tf32": _flag(on=cuda.tf32),
        # Shapes stay the same: what a run asks for once it asks for again, and no more.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if cuda.memory_limit_mb is not None:
        options["gpu_mem_limit"] = str(cuda.memory_limit_mb * MIB)
    return options


def tensorrt_options(tensorrt: TensorRt, *, model_folder: Path) -> dict[str, str]:
    """Options of TensorrtExecutionProvider."""
    options = {"device_id": str(tensorrt.device_id), "trt_fp16_enable": _flag(on=tensorrt.fp16)}
    if tensorrt.workspace_mb is not None:
        options["trt_max_workspace_size"] = str(tensorrt.workspace_mb * MIB)
    if tensorrt.engine_cache is not None:
        folder = str(model_folder / tensorrt.engine_cache)
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
    if tensorrt.min_shapes:
        options["trt_profile_min_shapes"] = _profile(tensorrt.min_shapes)
        options["trt_profile_opt_shapes"] = _profile(tensorrt.opt_shapes)
        options["trt_profile_max_shapes"] = _profile(tensorrt.max_shapes)
    return options


def _flag(*, on: bool) -> str:
    return "1" if on else "0"


def _profile(shapes: Shapes) -> str:
    """``image:1x3x224x224,mask:1x1x224x224``."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
