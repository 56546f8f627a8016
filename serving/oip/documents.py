"""What the server says of itself and its models, as JSON documents of the protocol: HTTP's answers, gRPC's messages."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version as version_of
from typing import Any, TypeAlias

from pipelines.specs import TensorSpec
from serving.catalog import LOADING, ModelStatus
from serving.oip.tensors import WIRE_DTYPES
from serving.served import ServedModel

Document: TypeAlias = dict[str, Any]
PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "ocella_image",
    "parameters",
    "schedule_policy",
    "statistics",
)
SHARED_MEMORY = "system_shared_memory"
# The config's word for a datatype is TYPE_ and the protocol's, but for this one.
_CONFIG_NAMES = {"BYTES": "STRING"}


def server_metadata(*, shared_memory: bool) -> Document:
    """Name, version and extensions of the server."""
    extensions = sorted((*EXTENSIONS, SHARED_MEMORY)) if shared_memory else EXTENSIONS
    return {"name": "ocella", "version": version_of("ocella"), "extensions": list(extensions)}


def model_metadata(served: ServedModel, statuses: Iterable[ModelStatus]) -> Document:
    """Versions that answer, and the tensors of the graph, with batch axis."""
    versions = [str(status.version) for status in statuses if status.name == served.name and status.ready]
    return {
        "name": served.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [_tensor_metadata(spec) for spec in served.loaded.session.inputs],
        "outputs": [_tensor_metadata(spec) for spec in served.loaded.session.graph_outputs],
    }


def model_config(served: ServedModel) -> Document:
    """How a model version is run."""
    policy, session = served.policy, served.loaded.session
    batches = served.contract.fixed_rows is None
    kind = "KIND_CPU" if session.provider.startswith("CPU") else "KIND_GPU"
    config: Document = {
        "name": served.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": {"specific": {"versions": [served.version]}},
        "max_batch_size": policy.max_size if batches else 0,
        "input": [_tensor_config(spec, batches=batches) for spec in session.inputs],
        "output": [_tensor_config(spec, batches=batches) for spec in session.graph_outputs],
        "instance_group": [{"name": served.name, "count": policy.slots, "kind": kind}],
        "parameters": {
            "task": {"string_value": served.task},
            "execution_provider": {"string_value": session.provider},
        },
        "model_transaction_policy": {"decoupled": False},
    }
    if batches:
        config["dynamic_batching"] = {
            "max_queue_delay_microseconds": round(policy.max_delay_ms * 1000),
            "default_queue_policy": {"max_queue_size": policy.max_queue},
        }
    return config


def repository_index(statuses: Iterable[ModelStatus], *, ready_only: bool) -> list[Document]:
    """Every known model version and why it does not answer; ``ready_only`` leaves out those that do not."""
    return [
        {
            "name": status.name,
            "version": str(status.version),
            "state": _state_of(status),
            "reason": status.reason,
        }
        for status in statuses
        if status.ready or not ready_only
    ]


def is_ready(statuses: Iterable[ModelStatus], name: str, version: int) -> bool:
    """Whether a model version (0: any) answers; one that is not known does not."""
    return any(status.ready for status in statuses if status.name == name and version in (0, status.version))


def _state_of(status: ModelStatus) -> str:
    if status.ready:
        return "READY"
    return "LOADING" if status.reason == LOADING else "UNAVAILABLE"


def _tensor_metadata(spec: TensorSpec) -> Document:
    return {"name": spec.name, "datatype": WIRE_DTYPES.get(spec.dtype, spec.dtype), "shape": _sizes(spec.shape)}


def _tensor_config(spec: TensorSpec, *, batches: bool) -> Document:
    datatype = WIRE_DTYPES.get(spec.dtype, "INVALID")
    return {
        "name": spec.name,
        "data_type": f"TYPE_{_CONFIG_NAMES.get(datatype, datatype)}",
        "dims": _sizes(spec.shape[1:] if batches else spec.shape),
    }


def _sizes(shape: Iterable[int | str]) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in shape]
