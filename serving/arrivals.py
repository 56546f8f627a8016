"""Calls as they arrive: their id and trace are read from metadata or headers, and go back with the answer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.request_id import REQUEST_ID, accepted
from serving.security.caller import caller_name
from serving.tracing.context import TRACEPARENT, TRACESTATE, TraceContext, read_context
from serving.trail import Arrival, arrive


def api_of(path: str) -> str:
    """The API that a gRPC path such as ``/ocella.v1.Vision/Predict`` belongs to."""
    return "oip" if path.startswith("/inference.") else "grpc"


class Begin(Protocol):
    """Begins a span of our own; see ``serving.tracing.spans``."""

    def __call__(self, caller: TraceContext | None, /) -> TraceContext:
        """The span's place: below the caller's, or the first of a trace."""
        ...


class Arrivals:
    """Tells whatever runs in the call's task which call it answers."""

    def __init__(self, begin_span: Begin | None = None) -> None:
        """``begin_span``: without it the caller's trace is passed on as it came."""
        self._begin_span = begin_span

    def grpc(self, context: Any, api: str) -> Arrival:
        """A call over gRPC; its id and trace go into the trailing metadata."""
        request_id, parent, state = None, None, ""
        for key, value in context.invocation_metadata():
            if key == REQUEST_ID:
                request_id = value
            elif key == TRACEPARENT:
                parent = value
            elif key == TRACESTATE:
                state = f"{state},{value}" if state else value
        trace = self._trace(parent, state)
        arrival = Arrival(api, str(context.peer()), accepted(request_id), trace, caller=caller_name())
        arrive(arrival)
        context.set_trailing_metadata(arrival.headers)
        return arrival

    def http(self, scope: Scope) -> Arrival:
        """A request over HTTP."""
        headers = Headers(scope=scope)
        client = scope.get("client")
        trace = self._trace(headers.get(TRACEPARENT), ",".join(headers.getlist(TRACESTATE)))
        peer = f"http:{client[0]}:{client[1]}" if client else "http"
        arrival = Arrival("http", peer, accepted(headers.get(REQUEST_ID)), trace)
        arrive(arrival)
        return arrival

    def _trace(self, parent: str | None, state: str) -> TraceContext | None:
        caller = read_context(parent, state)
        return self._begin_span(caller) if self._begin_span else caller


class HttpArrivals:
    """ASGI middleware, the outermost: also a request that is refused unseen has an id."""

    def __init__(self, app: ASGIApp, *, arrivals: Arrivals) -> None:
        self._app, self._arrivals = app, arrivals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and send its id and trace back with the answer."""
        arrival = self._arrivals.http(scope)
        told = [(name.encode(), value.encode()) for name, value in arrival.headers]

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        await self._app(scope, receive, tell)
