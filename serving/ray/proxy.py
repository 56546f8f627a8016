"""Our services in Ray's gRPC proxies: requests go on as bytes, with the time that is left to them."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2

from protos.ocella.v1 import faces_pb2, vision_pb2
from protos.oip import service_pb2
from serving.ray.messages import Question
from serving.wire import STATUS_DETAILS_KEY

SERVICES: Iterable[ServiceDescriptor] = (
    vision_pb2.DESCRIPTOR.services_by_name["Vision"],
    faces_pb2.DESCRIPTOR.services_by_name["Faces"],
    service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
)
OTHER_MACHINES = "callers of other machines are refused: the server was started for this one alone"


def add_services(_: object, server: Any) -> None:
    """Let a proxy take our services from everybody; Ray calls this in each of them."""
    _add(server, lambda peer: True)


def add_services_locally(_: object, server: Any) -> None:
    """Let a proxy take our services from its own machine alone: it listens on every address, whatever it is told."""
    _add(server, is_local)


def is_local(peer: str) -> bool:
    """Whether a caller is on this machine, by gRPC's name for it, such as ``ipv6:%5B::1%5D:50102``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind == "unix"
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]").partition("%")[0]
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@dataclass(frozen=True)
class Forwarded:
    """One method, without any reading or writing of messages.

    Ray replaces the behaviours of a handler by its own, through ``_replace`` as gRPC's own handlers have it; those take
    a request to a replica, and lose its deadline on the way. So each of them is wrapped here: what it takes to a
    replica is a ``Question``.
    """

    request_streaming: bool
    response_streaming: bool
    allows: Callable[[str], bool]
    request_deserializer: None = None
    response_serializer: None = None
    unary_unary: Any = None
    unary_stream: Any = None
    stream_unary: Any = None
    stream_stream: Any = None

    def _replace(self, *, unary_unary: Any, unary_stream: Any, stream_stream: Any, **_: Any) -> Forwarded:
        """The handler that Ray registers; no method of ours has many requests and one answer."""
        return replace(
            self,
            unary_unary=_one(unary_unary, self.allows),
            unary_stream=_many(unary_stream, self.allows),
            stream_stream=_both(stream_stream, self.allows),
        )


def _add(server: Any, allows: Callable[[str], bool]) -> None:
    for service in SERVICES:
        handlers: Any = {method.name: _handler(method, allows) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        server.add_registered_method_handlers(service.full_name, handlers)


def _handler(method: MethodDescriptor, allows: Callable[[str], bool]) -> Forwarded:
    return Forwarded(method.client_streaming, method.server_streaming, allows)


def _one(forward: Any, allows: Callable[[str], bool]) -> Any:
    async def answer(data: bytes, context: Any) -> Any:
        await _check(context, allows)
        answered = await forward(_question(data, context), context)
        _blame(context)
        return answered

    return answer


def _many(forward: Any, allows: Callable[[str], bool]) -> Any:
    async def answer(data: bytes, context: Any) -> AsyncIterator[Any]:
        await _check(context, allows)
        async for answered in forward(_question(data, context), context):
            if answered:  # an empty one is what Ray hands on beside a failure
                yield answered
        _blame(context)

    return answer


def _both(forward: Any, allows: Callable[[str], bool]) -> Any:
    async def answer(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        await _check(context, allows)

        async def questions() -> AsyncIterator[Question]:
            async for data in requests:
                yield _question(data, context)

        async for answered in forward(questions(), context):
            if answered:
                yield answered
        _blame(context)

    return answer


def _question(data: bytes, context: Any) -> Question:
    metadata = [(key, value) for key, value in context.invocation_metadata() or ()]  # gRPC's own pairs do not travel
    return Question(data, context.time_remaining(), context.peer(), metadata)


async def _check(context: Any, allows: Callable[[str], bool]) -> None:
    if not allows(context.peer()):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, OTHER_MACHINES)


def _blame(context: Any) -> None:
    """Call UNAVAILABLE what Ray calls INTERNAL: a router that was lost; a fault of ours carries our details."""
    told = dict(context.trailing_metadata() or ())
    if _number(context.code()) == _number(grpc.StatusCode.INTERNAL) and STATUS_DETAILS_KEY not in told:
        context.set_code(grpc.StatusCode.UNAVAILABLE)


def _number(code: Any) -> int:
    """A code as a number: the context of ``grpc.aio`` has either form."""
    return int(code.value[0] if isinstance(code, grpc.StatusCode) else code or 0)
