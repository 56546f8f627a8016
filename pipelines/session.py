"""Running a graph: the ``Session`` protocol and its onnxruntime implementation."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np

from pipelines.errors import GraphMismatchError, MissingExtraError, ModelRunError, ProviderError, RunTerminatedError
from pipelines.specs import TensorSpec
from pipelines.types import AnyArray

try:
    import onnxruntime as ort
except ImportError as missing:
    raise MissingExtraError(
        "running a model needs onnxruntime: pip install 'ocella[cpu]' or 'ocella[gpu]'"
    ) from missing

ONNXRUNTIME_VERSION: str = ort.__version__
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
NUMPY_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(uint32)": "uint32",
    "tensor(int32)": "int32",
    "tensor(uint64)": "uint64",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
Optimization: TypeAlias = Literal["off", "basic", "all"]
_LEVELS: Mapping[str, ort.GraphOptimizationLevel] = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ON_DEVICE = frozenset({CUDA, TENSORRT})
# onnxruntime's own are TF32, which moves learnt detectors' scores by 0.003, and trying all of cuDNN's algorithms, which
# on one H100 found nothing faster and took up to 1.3 s for each shape.
_DEFAULTS: Mapping[str, Mapping[str, str]] = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
_WARNING, _SILENT = 2, 4
_creation = threading.Lock()  # the default logger's severity is process-wide, and creation changes it for a moment.


class Session(Protocol):
    """A loaded graph. ``run`` may be called from several threads at once.

    Attributes:
        inputs: the graph's inputs.
        outputs: the outputs that ``run`` returns.
        provider: execution provider that runs the graph, as onnxruntime names it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provider: str

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run a batch; arrays have the batch axis first. Raises ModelRunError."""
        ...

    def close(self) -> None:
        """Free the graph; ``run`` must not be called any more."""
        ...


class RunControl:
    """One run that another thread may end: at the next node of the graph, not in the middle of one."""

    def __init__(self, *, shrink_arena: bool = False) -> None:
        """``shrink_arena``: give the CPU arena's unused memory back at the end of the run; the session has an arena."""
        self.options = ort.RunOptions()
        self.options.log_severity_level = _SILENT
        if shrink_arena:
            self.options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def terminate(self) -> None:
        """End the run, now or once it begins."""
        self.options.terminate = True

    @property
    def terminated(self) -> bool:
        """Whether ``terminate`` was called."""
        return bool(self.options.terminate)


class GraphSession(Session, Protocol):
    """A session that serves: it answers any outputs of its graph, and its runs can be ended.

    Attributes:
        graph_outputs: every output of the graph; ``outputs`` are those that ``run`` returns unasked.
    """

    graph_outputs: tuple[TensorSpec, ...]

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Sequence[str] | None = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        """Run a batch and return ``outputs`` of it.

        Raises:
            RunTerminatedError: ``control`` ended the run.
            ModelRunError: the run failed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How a graph is run.

    Attributes:
        providers: execution providers, most wanted first.
        provider_options: by provider, in onnxruntime's own words.
        require: the first provider must be the one that runs; else the next one that can takes its place.
        intra_op_threads: threads inside one ``run``. 1 with several concurrent runs is the fastest on CPU.
        arena: keep freed memory for the next run.
        optimization: how far onnxruntime may rewrite the graph; less than ``all`` is for proofs, and slow.
        most_shapes: on CUDA, shapes of batches that are kept ready, each by a session of its own.
    """

    providers: tuple[str, ...] = (CPU,)
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    require: bool = True
    intra_op_threads: int = 1
    arena: bool = True
    optimization: Optimization = "all"
    most_shapes: int = 8


class OnnxSession:
    """A graph in onnxruntime, with spinning off.

    Attributes:
        fallback: why the provider is not the one that was asked for; empty where it is.
    """

    def __init__(
        self, path: Path, options: SessionOptions | None = None, *, outputs: Sequence[str] | None = None
    ) -> None:
        """Load ``path``; ``outputs`` limits what ``run`` computes and returns (default: all).

        Raises GraphMismatchError for a file that is not a valid graph, ProviderError where the first provider is not
        the one that would run it.
        """
        options = options or SessionOptions()
        providers = _usable(options)
        self._session: ort.InferenceSession | None = _create(path, options, providers)
        self.provider: str = self._session.get_providers()[0]
        self.fallback = ""
        if self.provider != options.providers[0]:
            self.fallback = f"{options.providers[0]} was asked for, the session would run on {self.provider}: " + (
                "the driver or its libraries are missing"
                if options.providers[0] in providers
                else f"this onnxruntime has {ort.get_available_providers()}"
            )
        if self.fallback and options.require:
            raise ProviderError(self.fallback)
        self._bound = self.provider in _ON_DEVICE
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        every = tuple(_spec(node) for node in self._session.get_outputs())
        self.graph_outputs = every
        self.outputs = every if outputs is None else _pick(every, outputs)
        self._output_names = [spec.name for spec in self.outputs]

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Sequence[str] | None = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        """Run a batch; arrays have the batch axis first.

        Args:
            feeds: each input of the graph.
            outputs: names of those to return; ``None``: the session's own ``outputs``.
            control: lets another thread end the run.

        Raises:
            RunTerminatedError: ``control`` ended the run.
            ModelRunError: the run failed, with onnxruntime's own words.
        """
        session = self._session  # a local name: close() in another thread must not pull it away half-way.
        if session is None:
            raise ModelRunError("the session is closed")
        names = self._output_names if outputs is None else list(outputs)
        try:
            run = run_bound if self._bound else ort.InferenceSession.run
            values = run(session, names, dict(feeds), control and control.options)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception.
            if control is not None and control.terminated:
                raise RunTerminatedError("the run was ended: nobody waited for it any more") from error
            raise ModelRunError(f"onnxruntime refused or failed the run: {_one_line(error)}") from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Drop the graph; its memory goes when the last running ``run`` returns."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def available_providers() -> tuple[str, ...]:
    """Execution providers that this onnxruntime was built with; that one is here does not mean that it would run."""
    return tuple(ort.get_available_providers())


def run_bound(
    session: ort.InferenceSession, names: Sequence[str], feeds: Mapping[str, AnyArray], options: ort.RunOptions | None
) -> list[AnyArray]:
    """Run through an IO binding: inputs are on the device before the first node, outputs come in one go."""
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in names:
        binding.bind_output(name)
    session.run_with_iobinding(binding, options)
    return binding.copy_outputs_to_cpu()


def _usable(options: SessionOptions) -> list[str]:
    """The providers that this onnxruntime has; raises ProviderError where one that is required is not among them."""
    available = ort.get_available_providers()
    missing = [name for name in options.providers if name not in available]
    usable = [name for name in options.providers if name in available]
    if missing and (options.require or not usable):
        raise ProviderError(f"{missing[0]} is not in this onnxruntime, it has {available}")
    return usable


def _create(path: Path, options: SessionOptions, providers: Sequence[str]) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.intra_op_threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = options.arena
    # A pattern is planned and kept for each shape that ever came: over 500 shapes memory grew by 4.2 % without an end,
    # and not at all without patterns, which are worth less than 3 % of the time on the CPU.
    settings.enable_mem_pattern = providers[0] != CPU
    settings.graph_optimization_level = _LEVELS[options.optimization]
    settings.log_severity_level = _SILENT
    # Spinning threads take cores from concurrent runs; off is 30 to 75 % faster once callers outnumber cores.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with _creation:
        if _ON_DEVICE.intersection(providers) and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        ort.set_default_logger_severity(_SILENT)
        try:
            chosen = [
                (name, {**_DEFAULTS.get(name, {}), **options.provider_options.get(name, {})}) for name in providers
            ]
            return ort.InferenceSession(str(path), settings, providers=chosen)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception.
            raise GraphMismatchError(f"{path} does not load: {_one_line(error)}") from error
        finally:
            # On a GPU convolutions tell of each plan that cuDNN lacks, at every run of a new shape.
            ort.set_default_logger_severity(_SILENT if _ON_DEVICE.intersection(providers) else _WARNING)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in node.shape)
    return TensorSpec(name=node.name, dtype=NUMPY_DTYPES.get(node.type, node.type), shape=shape)


def _pick(every: tuple[TensorSpec, ...], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    by_name = {spec.name: spec for spec in every}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise GraphMismatchError(f"the graph has no output {unknown[0]!r}, it has {sorted(by_name)}")
    return tuple(by_name[name] for name in names)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def run_one(session: Session, row: AnyArray) -> dict[str, AnyArray]:
    """Run one row (no batch axis) through a graph of one input; outputs come without the batch axis."""
    outputs = session.run({session.inputs[0].name: row[np.newaxis]})
    return split_rows(outputs, expected_rows=1)[0]


def split_rows(outputs: Mapping[str, AnyArray], *, expected_rows: int) -> list[dict[str, AnyArray]]:
    """Split batched outputs into one mapping a row; raises ModelRunError where an output has another row count."""
    for name, value in outputs.items():
        if value.ndim == 0 or len(value) != expected_rows:
            raise ModelRunError(f"output {name!r} must have {expected_rows} rows, got shape {value.shape}")
    return [{name: value[i] for name, value in outputs.items()} for i in range(expected_rows)]
