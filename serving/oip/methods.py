"""The methods of the protocol that answer a document: all but ModelInfer and ModelStreamInfer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from google.protobuf.message import Message

from pipelines.errors import NotOfferedError
from protos.oip import control_pb2, metadata_pb2, model_config_pb2, statistics_pb2
from serving.oip.control import NO_CUDA
from serving.oip.documents import Document
from serving.oip.parts import ServiceParts
from serving.oip.questions import (
    configuration,
    describe_model,
    describe_server,
    model_is_ready,
    server_is_ready,
    statistics,
)
from serving.oip.shared_memory import Region


@dataclass(frozen=True)
class Method:
    """One method: the messages it takes and gives, and what it does in between."""

    takes: type[Message]
    gives: type[Message]
    work: Callable[[ServiceParts, Any], Awaitable[Document]]


async def _server_live(_: ServiceParts, __: object) -> Document:
    return {"live": True}


async def _server_ready(parts: ServiceParts, _: object) -> Document:
    return {"ready": server_is_ready(parts)}


async def _model_ready(parts: ServiceParts, request: metadata_pb2.ModelReadyRequest) -> Document:
    return {"ready": model_is_ready(parts, request.name, request.version)}


async def _server_metadata(parts: ServiceParts, _: object) -> Document:
    return describe_server(parts)


async def _model_metadata(parts: ServiceParts, request: metadata_pb2.ModelMetadataRequest) -> Document:
    return describe_model(parts, request.name, request.version)


async def _model_config(parts: ServiceParts, request: model_config_pb2.ModelConfigRequest) -> Document:
    return {"config": configuration(parts, request.name, request.version)}


async def _model_statistics(parts: ServiceParts, request: statistics_pb2.ModelStatisticsRequest) -> Document:
    return statistics(parts, request.name, request.version)


async def _repository_index(parts: ServiceParts, request: control_pb2.RepositoryIndexRequest) -> Document:
    return {"models": parts.control.index(request.repository_name, ready_only=request.ready)}


async def _load(parts: ServiceParts, request: control_pb2.RepositoryModelLoadRequest) -> Document:
    await parts.control.load(request.repository_name, request.model_name, sorted(request.parameters))
    return {}


async def _unload(parts: ServiceParts, request: control_pb2.RepositoryModelUnloadRequest) -> Document:
    await parts.control.unload(request.repository_name, request.model_name, sorted(request.parameters))
    return {}


async def _memory_status(parts: ServiceParts, request: control_pb2.SystemSharedMemoryStatusRequest) -> Document:
    return {"regions": {name: vars(region) for name, region in parts.control.regions(request.name).items()}}


async def _memory_register(parts: ServiceParts, request: control_pb2.SystemSharedMemoryRegisterRequest) -> Document:
    parts.control.register(Region(request.name, request.key, request.offset, request.byte_size))
    return {}


async def _memory_unregister(parts: ServiceParts, request: control_pb2.SystemSharedMemoryUnregisterRequest) -> Document:
    parts.control.unregister(request.name)
    return {}


async def _cuda_memory(_: ServiceParts, __: object) -> NoReturn:
    raise NotOfferedError(NO_CUDA)


async def _trace(parts: ServiceParts, request: control_pb2.TraceSettingRequest) -> Document:
    asked = {name: tuple(setting.value) for name, setting in request.settings.items()}
    settings = parts.control.set_traces(asked)
    return {"settings": {name: {"value": list(values)} for name, values in settings.items()}}


async def _logs(parts: ServiceParts, request: control_pb2.LogSettingsRequest) -> Document:
    asked = {
        name: getattr(setting, choice) if (choice := setting.WhichOneof("parameter_choice")) else ""
        for name, setting in request.settings.items()
    }
    settings = parts.control.set_logs(asked)
    return {
        "settings": {
            name: {"bool_param" if isinstance(value, bool) else "uint32_param": value}
            for name, value in settings.items()
        }
    }


METHODS: Mapping[str, Method] = {
    "ServerLive": Method(metadata_pb2.ServerLiveRequest, metadata_pb2.ServerLiveResponse, _server_live),
    "ServerReady": Method(metadata_pb2.ServerReadyRequest, metadata_pb2.ServerReadyResponse, _server_ready),
    "ModelReady": Method(metadata_pb2.ModelReadyRequest, metadata_pb2.ModelReadyResponse, _model_ready),
    "ServerMetadata": Method(metadata_pb2.ServerMetadataRequest, metadata_pb2.ServerMetadataResponse, _server_metadata),
    "ModelMetadata": Method(metadata_pb2.ModelMetadataRequest, metadata_pb2.ModelMetadataResponse, _model_metadata),
    "ModelConfig": Method(model_config_pb2.ModelConfigRequest, model_config_pb2.ModelConfigResponse, _model_config),
    "ModelStatistics": Method(
        statistics_pb2.ModelStatisticsRequest, statistics_pb2.ModelStatisticsResponse, _model_statistics
    ),
    "RepositoryIndex": Method(
        control_pb2.RepositoryIndexRequest, control_pb2.RepositoryIndexResponse, _repository_index
    ),
    "RepositoryModelLoad": Method(
        control_pb2.RepositoryModelLoadRequest, control_pb2.RepositoryModelLoadResponse, _load
    ),
    "RepositoryModelUnload": Method(
        control_pb2.RepositoryModelUnloadRequest, control_pb2.RepositoryModelUnloadResponse, _unload
    ),
    "SystemSharedMemoryStatus": Method(
        control_pb2.SystemSharedMemoryStatusRequest, control_pb2.SystemSharedMemoryStatusResponse, _memory_status
    ),
    "SystemSharedMemoryRegister": Method(
        control_pb2.SystemSharedMemoryRegisterRequest, control_pb2.SystemSharedMemoryRegisterResponse, _memory_register
    ),
    "SystemSharedMemoryUnregister": Method(
        control_pb2.SystemSharedMemoryUnregisterRequest,
        control_pb2.SystemSharedMemoryUnregisterResponse,
        _memory_unregister,
    ),
    "CudaSharedMemoryStatus": Method(
        control_pb2.CudaSharedMemoryStatusRequest, control_pb2.CudaSharedMemoryStatusResponse, _cuda_memory
    ),
    "CudaSharedMemoryRegister": Method(
        control_pb2.CudaSharedMemoryRegisterRequest, control_pb2.CudaSharedMemoryRegisterResponse, _cuda_memory
    ),
    "CudaSharedMemoryUnregister": Method(
        control_pb2.CudaSharedMemoryUnregisterRequest, control_pb2.CudaSharedMemoryUnregisterResponse, _cuda_memory
    ),
    "TraceSetting": Method(control_pb2.TraceSettingRequest, control_pb2.TraceSettingResponse, _trace),
    "LogSettings": Method(control_pb2.LogSettingsRequest, control_pb2.LogSettingsResponse, _logs),
}
