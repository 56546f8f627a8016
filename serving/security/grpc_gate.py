"""The gate before gRPC's handlers: who may not call is refused before a byte of the message is read."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc

from pipelines.errors import NotAllowedError, OcellaError, OverloadedError, UnauthenticatedError
from serving.arrivals import api_of
from serving.calls import Calls
from serving.security.access import Access
from serving.security.caller import client_of, know_caller
from serving.security.limits import PerClient, address_of
from serving.security.roles import role_of_method
from serving.status import Failure
from serving.vision import Context, refuse


class GrpcGate:
    """Takes handlers as a server does, and hands them on behind its checks."""

    def __init__(self, server: Any, calls: Calls, *, access: Access | None, streams: PerClient) -> None:
        """``access``: ``None`` where nobody has to say who it is."""
        self._server = server
        self._checks = _Checks(calls, access, streams)

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Register handlers."""
        self._server.add_generic_rpc_handlers(tuple(_Checked(handler, self._checks) for handler in handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register nothing: a server asks these first, and they would be reached past the gate.

        Generated code offers each handler in this way, too, beside the other one.
        """


class _Checks:
    """What is looked at before a handler runs."""

    def __init__(self, calls: Calls, access: Access | None, streams: PerClient) -> None:
        self._calls = calls
        self._access = access
        self._streams = streams

    def admit(self, handler: Any, details: Any) -> Any:
        """The handler of a call, or one that refuses it."""
        if self._access is None:
            return handler
        headers = [str(value) for key, value in details.invocation_metadata if key == "authorization"]
        try:
            name = self._access.require(headers, role_of_method(details.method))
        except (UnauthenticatedError, NotAllowedError) as error:
            return self._refusal(details.method, error)
        if name:
            know_caller(name)
        return handler

    def counted(self, handler: Any, method: str) -> Any:
        """A handler whose open calls are counted by client, where it answers with a stream."""
        if not handler.response_streaming:
            return handler
        answer = handler.stream_stream or handler.unary_stream

        async def held(request: Any, context: Context) -> None:
            client = address_of(client_of(context))
            try:
                self._streams.enter(client)
            except OverloadedError as error:
                await self._refuse(method, error, context)
            try:
                await _answer_all(answer, request, context)
            finally:
                self._streams.leave(client)

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(held, handler.request_deserializer, handler.response_serializer)

    def _refusal(self, method: str, error: OcellaError) -> Any:
        """A handler that reads nothing: one of a unary call is given its message, up to the limit, before it runs."""

        async def refuse_unread(_: object, context: Context) -> None:
            await self._refuse(method, error, context)

        return grpc.stream_stream_rpc_method_handler(refuse_unread)

    async def _refuse(self, method: str, error: OcellaError, context: Context) -> NoReturn:
        self._calls.arrivals.grpc(context, api_of(method))

        async def fail() -> NoReturn:
            raise error

        outcome = await self._calls.run(method.rpartition("/")[2], fail(), deadline=math.inf)
        assert isinstance(outcome, Failure)
        await refuse(context, outcome)


class _Checked(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # no generic at run time
    """One service behind the checks."""

    def __init__(self, inner: grpc.GenericRpcHandler[Any, Any], checks: _Checks) -> None:
        self._inner = inner
        self._checks = checks
        self._handlers: dict[str, Any] = {}

    def service(self, details: Any) -> Any:
        """The handler of a call; ``None`` for a method that is not this service's."""
        handler = self._handlers.get(details.method)
        if handler is None:
            handler = self._inner.service(details)
            if handler is None:
                return None
            handler = self._handlers[details.method] = self._checks.counted(handler, details.method)
        return self._checks.admit(handler, details)


async def _answer_all(answer: Callable[..., Any], request: Any, context: Context) -> None:
    """Run a handler of either kind: one that writes its answers, or one that yields them."""
    if inspect.isasyncgenfunction(answer):
        async for each in answer(request, context):
            await context.write(each)
    else:
        await answer(request, context)
