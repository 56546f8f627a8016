"""The methods of the services as gRPC handlers; bytes that are no message reach them as ``Malformed``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from pipelines.errors import InvalidRequestError
from protos.ocella.v1 import faces_pb2
from protos.ocella.v1 import vision_pb2 as pb
from protos.oip import service_pb2

INFERENCE_SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
FACES_SERVICE = faces_pb2.DESCRIPTOR.services_by_name["Faces"].full_name
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
SERVICE = pb.DESCRIPTOR.services_by_name["Vision"].full_name
M = TypeVar("M", bound=Message)
T = TypeVar("T")


@dataclass(frozen=True)
class Malformed:
    """A request whose bytes are not a message of its ``kind``; gRPC alone would call that UNKNOWN and count nothing."""

    kind: str


def vision_handlers(vision: Any) -> Any:
    """The generic handler of the servicer's methods."""
    handlers = {
        "Predict": _unary(vision.Predict, pb.PredictRequest),
        "PredictStream": grpc.stream_stream_rpc_method_handler(
            vision.PredictStream, reader_of(pb.PredictRequest), pb.PredictResponse.SerializeToString
        ),
        "PredictTiles": grpc.unary_stream_rpc_method_handler(
            vision.PredictTiles, reader_of(pb.PredictRequest), pb.TileResponse.SerializeToString
        ),
        "ListModels": _unary(vision.ListModels, pb.ListModelsRequest),
        "DescribeModel": _unary(vision.DescribeModel, pb.DescribeModelRequest),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def faces_handlers(faces: Any) -> Any:
    """The generic handler of the servicer of faces; all its methods ask for the role ``faces_service.ROLE``."""
    handlers = {
        method.name: _unary(getattr(faces, method.name), getattr(faces_pb2, method.input_type.name))
        for method in faces_pb2.DESCRIPTOR.services_by_name["Faces"].methods
    }
    return grpc.method_handlers_generic_handler(FACES_SERVICE, handlers)


def inference_handlers(service: Any, methods: Any) -> Any:
    """The generic handler of the Open Inference Protocol; ``methods`` are those beside inference, by name.

    Inference takes and gives bytes: tensors are read and written without protobuf's copies.
    """
    handlers = {name: _unary(partial(service.ask, name), method.takes) for name, method in methods.items()}
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(service.model_infer)
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(service.model_stream_infer)
    return grpc.method_handlers_generic_handler(INFERENCE_SERVICE, handlers)


def health_handlers(health: Any) -> Any:
    """The generic handler of ``grpc.health.v1``, without its ``List``: probes carry no token and learn no names."""

    async def check(request: Any, context: Any) -> Any:
        return await health.Check(await _sound(request, context), context)

    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        async for answer in health.Watch(await _sound(request, context), context):
            yield answer

    read, write = reader_of(health_pb2.HealthCheckRequest), health_pb2.HealthCheckResponse.SerializeToString
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(check, read, write),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, read, write),
    }
    return grpc.method_handlers_generic_handler(HEALTH_SERVICE, handlers)


def reflection_handlers(servicer: Any) -> Any:
    """The generic handler of server reflection."""

    async def inform(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        sound = (await _sound(request, context) async for request in requests)
        async for answer in servicer.ServerReflectionInfo(sound, context):
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        inform,
        reader_of(reflection_pb2.ServerReflectionRequest),
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {"ServerReflectionInfo": handler})


def well_formed(request: T | Malformed) -> T:
    """The message of a request; raises InvalidRequestError where its bytes were none."""
    if isinstance(request, Malformed):
        raise InvalidRequestError(f"the request must be a protobuf message {request.kind}, its bytes are none")
    return request


async def _sound(request: T | Malformed, context: Any) -> T:
    """The message of a request to a service that counts nothing; a call whose bytes were none is refused."""
    try:
        return well_formed(request)
    except InvalidRequestError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise


def _unary(method: Any, kind: type[Message]) -> Any:
    return grpc.unary_unary_rpc_method_handler(method, reader_of(kind), lambda answer: answer.SerializeToString())


def reader_of(kind: type[M]) -> Callable[[bytes], M | Malformed]:
    """A deserializer of messages of ``kind``."""

    def read(data: bytes) -> M | Malformed:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Malformed(kind.DESCRIPTOR.name)

    return read
