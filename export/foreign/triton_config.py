"""An existing Triton ``config.pbtxt`` as values: what it checks, what it sets here, and what has no equivalent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import GraphMismatchError, RecipeError
from pipelines.specs import TensorSpec

MAX_CONFIG_BYTES = 1024 * 1024
MAX_LABEL_BYTES = 16 * 1024 * 1024
# Triton's words for element types; the keys are those of its DataType without the prefix.
_DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "STRING": "object",
}

# Numbers of its DataType.
_NUMBERS = {word: number for number, word in enumerate(("INVALID", *_DTYPES, "BF16"))}
_LABELS = "output.label_filename"
_SAME_HERE = ("input.format", "default_model_filename")  # the recipe's layout says the first; a package has one graph.


@dataclass(frozen=True, kw_only=True)
class TritonTensor:
    """One input or output of the configuration.

    Attributes:
        name: of the tensor.
        dtype: Triton's word, without ``TYPE_``.
        dims: without the batch where ``max_batch_size`` is not 0; -1 where a size is free.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TritonConfig:
    """A configuration, as far as something here does the same.

    Attributes:
        name: of the model, or empty.
        max_batch_size: 0 where the batch is part of ``dims``.
        inputs: tensors.
        outputs: tensors.
        label_files: files of class names beside the configuration.
        batches: whether requests are batched together.
        max_delay_us: how long a batch waits, or 0.
        max_queue: requests that may wait; 0: no limit.
        instances: concurrent runs on a device, or 0 where it is not said.
        on_gpu: whether they run on a GPU; ``None`` where it is not said.
        versions: those that are served, or empty.
        unknown: what stands in the file and has no place here, as ``path: value``.
    """

    name: str
    max_batch_size: int
    inputs: tuple[TritonTensor, ...]
    outputs: tuple[TritonTensor, ...]
    label_files: tuple[str, ...]
    batches: bool
    max_delay_us: int
    max_queue: int
    instances: int
    on_gpu: bool | None
    versions: tuple[int, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class DeployText:
    """A ``deploy.toml`` and what it could not take over.

    Attributes:
        toml: the file's text.
        left_out: one sentence for each setting without an equivalent.
    """

    toml: str
    left_out: tuple[str, ...]


def config_from(message: Any, *, unknown: Sequence[tuple[str, str]]) -> TritonConfig:
    """Take the values out of a ``ModelConfig`` message.

    ``unknown`` are the paths and texts of what the message has no field for; the outputs' label files are among them.
    """
    groups = list(message.instance_group)
    # KIND_AUTO: a GPU where there is one; KIND_GPU; KIND_CPU; KIND_MODEL: as the backend says.
    kinds = {group.kind for group in groups}
    batching = message.dynamic_batching
    rest = [f"{path}: {text}" for path, text in unknown if path != _LABELS and path not in _SAME_HERE]
    if len(groups) > 1:
        rest.append(f"instance_group: {len(groups)} groups; their counts are added up")
    if message.HasField("model_transaction_policy") and message.model_transaction_policy.decoupled:
        rest.append("model_transaction_policy.decoupled: each request has one answer here")
    rest += [f"parameters.{key}: {value.string_value}" for key, value in sorted(message.parameters.items())]
    return TritonConfig(
        name=message.name,
        max_batch_size=message.max_batch_size,
        inputs=tuple(_tensor(one) for one in message.input),
        outputs=tuple(_tensor(one) for one in message.output),
        label_files=tuple(text.strip("\"'") for path, text in unknown if path == _LABELS),
        batches=message.HasField("dynamic_batching"),
        max_delay_us=batching.max_queue_delay_microseconds,
        max_queue=batching.default_queue_policy.max_queue_size,
        instances=sum(max(group.count, 1) for group in groups),
        on_gpu=None if not kinds & {1, 2} else 1 in kinds,
        versions=tuple(message.version_policy.specific.versions),
        unknown=tuple(rest),
    )


def _tensor(message: Any) -> TritonTensor:
    dtype = next(word for word, number in _NUMBERS.items() if number == message.data_type)
    return TritonTensor(name=message.name, dtype=dtype, dims=tuple(message.dims))


def check_tensors(config: TritonConfig, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Raise GraphMismatchError unless the graph has every tensor of the configuration, with its type and sizes."""
    for what, wanted, have in (("input", config.inputs, inputs), ("output", config.outputs, outputs)):
        known = {spec.name: spec for spec in have}
        for tensor in wanted:
            if tensor.name not in known:
                raise GraphMismatchError(f"config.pbtxt names {what} {tensor.name!r}, the graph has {sorted(known)}")
            _check_tensor(what, tensor, known[tensor.name], batched=config.max_batch_size > 0)


def _check_tensor(what: str, tensor: TritonTensor, spec: TensorSpec, *, batched: bool) -> None:
    dtype = _DTYPES.get(tensor.dtype)
    if dtype not in (spec.dtype, {"str": "object"}.get(spec.dtype)):
        raise GraphMismatchError(
            f"config.pbtxt says that {what} {tensor.name!r} is {tensor.dtype}, in the graph it is {spec.dtype}"
        )
    shape = spec.shape[1:] if batched else spec.shape
    fits = len(shape) == len(tensor.dims) and all(
        isinstance(have, str) or want in (-1, have) for want, have in zip(tensor.dims, shape, strict=True)
    )
    if not fits:
        raise GraphMismatchError(
            f"config.pbtxt says that {what} {tensor.name!r} has {list(tensor.dims)}"
            f"{' behind the batch' if batched else ''}, in the graph it has {list(spec.shape)}"
        )


def read_labels(config: TritonConfig, folder: Path) -> tuple[str, ...]:
    """Class names from the first label file, one a line; empty where there is none.

    Raises RecipeError where the file lies outside the folder, is too large, or cannot be read.
    """
    if not config.label_files:
        return ()
    path = (folder / config.label_files[0]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RecipeError(f"label file {config.label_files[0]!r} must lie beside config.pbtxt")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LABEL_BYTES + 1)
        if len(data) > MAX_LABEL_BYTES:
            raise RecipeError(f"label file {path} must be at most {MAX_LABEL_BYTES:,} bytes")
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"label file {path} cannot be read: {error}") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def to_deploy(config: TritonConfig) -> DeployText:
    """The same settings as a ``deploy.toml``, and what is left out."""
    left_out = list(config.unknown)
    lines = []
    if config.versions:
        lines += [f"versions = {list(config.versions)}", ""]
    batching = []
    if config.max_batch_size > 0:
        # Without dynamic batching Triton runs each request alone.
        batching.append(f"max_size = {config.max_batch_size if config.batches else 1}")
        if not config.batches and config.max_batch_size > 1:
            left_out.append(
                f"max_batch_size: {config.max_batch_size} without dynamic_batching: larger requests are split here"
            )
    if config.max_delay_us:
        batching.append(f"max_delay_ms = {config.max_delay_us / 1000:g}")
    if config.max_queue:
        batching.append(f"max_queue = {config.max_queue}")
    if batching:
        lines += ["[batching]", *batching, ""]
    runtime = []
    if config.on_gpu is not None:
        providers = '"CUDAExecutionProvider", "CPUExecutionProvider"' if config.on_gpu else '"CPUExecutionProvider"'
        runtime.append(f"providers = [{providers}]")
    if config.instances:
        runtime.append(f"instances = {config.instances}")
    if runtime:
        lines += ["[runtime]", *runtime, ""]
    return DeployText("\n".join(lines), tuple(left_out))
