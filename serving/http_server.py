"""HTTP beside gRPC: the REST paths, metrics and probes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Self

import uvicorn
from grpc import StatusCode
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipelines.errors import NotAllowedError, UnauthenticatedError
from serving.arrivals import HttpArrivals
from serving.probes import NoAnswerError, Probes
from serving.rest.endpoint import EndpointApp
from serving.rest.endpoints import ENDPOINTS
from serving.rest.gate import Gate
from serving.rest.openapi import describe
from serving.rest.parts import Endpoint, RestParts
from serving.rest.reply import Reply, document_reply, failure_reply
from serving.security.access import Access
from serving.security.connections import HEADERS_S, MAX_HEADER_BYTES, limited_protocol
from serving.security.limits import PerClient
from serving.security.roles import Door, Role
from serving.settings import is_loopback
from serving.status import Failure, Status, failure_of

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# Probes and scrapes take milliseconds; one that still runs at a stop need not be waited for longer.
STOP_S = 2
# A request that meets the end of its idle connection is lost, so that the server must be the last to end one: nginx and
# balancers of AWS and Google keep theirs for 60 s and less by default. Uvicorn's own is 5 s, and httpx's as well.
KEEP_ALIVE_S = 75.0


def build_app(probes: Probes, parts: RestParts, *, allowed_hosts: tuple[str, ...]) -> Starlette:
    """The REST paths, what describes them, ``/metrics``, ``/healthz`` (it lives) and ``/readyz`` (models answer)."""
    description = document_reply(describe(ENDPOINTS))

    async def scrape(request: Request) -> Response:
        try:
            text, content_type = await probes.scrape(request.headers.get("accept", ""))
        except NoAnswerError as error:  # an empty page would pass for a scrape
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(text, headers={"content-type": content_type})

    async def openapi(_: Request) -> Response:
        return Response(description.parts[0], media_type=description.media_type)

    app = Starlette(
        routes=[
            *(Route(path, EndpointApp(verbs, parts), methods=list(verbs)) for path, verbs in _by_path().items()),
            Route("/openapi.json", _for(Door.ANY_TOKEN, parts.access, openapi)),
            Route("/metrics", _for(Role.METRICS, parts.access, scrape)),
            *_probe_routes(probes),
        ],
        exception_handlers={HTTPException: _no_such_path},
        middleware=[
            Middleware(HttpArrivals, arrivals=parts.oip.calls.arrivals),
            Middleware(Gate, allowed_hosts=allowed_hosts),
        ],
    )
    return _without_redirects(app)


def build_health_app(probes: Probes, *, allowed_hosts: tuple[str, ...]) -> Starlette:
    """``/healthz`` and ``/readyz`` alone, for a port that is not encrypted."""
    app = Starlette(routes=_probe_routes(probes), middleware=[Middleware(Gate, allowed_hosts=allowed_hosts)])
    return _without_redirects(app)


def _without_redirects(app: Starlette) -> Starlette:
    """The app, for which a path with a slash too many is one that there is not; else it sends to whatever Host says."""
    app.router.redirect_slashes = False
    return app


def _probe_routes(probes: Probes) -> list[Route]:
    """They ask for no token and tell no name."""

    async def live(_: Request) -> Response:
        if (await probes.state()).alive:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("runs of a model hang again and again: restart this process\n", status_code=503)

    async def ready(_: Request) -> Response:
        state = await probes.state()
        body = {
            "ready": state.ready,
            "models_ready": state.models_ready,
            "models_not_ready": state.models_not_ready,
        }
        return JSONResponse(body, status_code=200 if state.ready else 503)

    return [Route("/healthz", live), Route("/readyz", ready)]


def _for(
    role: Role | Door, access: Access | None, answer: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """What answers those whose token holds a role; everybody where there is no ``access``."""
    if access is None:
        return answer

    async def checked(request: Request) -> Response:
        try:
            access.require(request.headers.getlist("authorization"), role)
        except (NotAllowedError, UnauthenticatedError) as error:
            return _response(failure_reply(failure_of(error, request_id="")))
        return await answer(request)

    return checked


def _by_path() -> dict[str, dict[str, Endpoint]]:
    """The endpoints by path, then verb: one route answers a path, and so knows all verbs that it allows."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.verb] = endpoint
    return paths


async def _no_such_path(request: Request, error: Exception) -> Response:
    """What no route answers, as JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        status, reason = Status(StatusCode.UNIMPLEMENTED, error.status_code), "MethodNotAllowedError"
        message = f"{request.url.path[:128]} must be asked by {allowed}, got {request.method}"
    else:
        status, reason = Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND), "UnknownPathError"
        message = f"no path is called {request.url.path[:128]!r}, /openapi.json lists them"
    reply = failure_reply(Failure(status, reason, message))
    return Response(reply.parts[0], reply.status, error.headers, reply.media_type)


def _response(reply: Reply) -> Response:
    return Response(b"".join(reply.parts), reply.status, dict(reply.headers), reply.media_type)


def allowed_hosts(host: str) -> tuple[str, ...]:
    """Names that a request's Host may have: on loopback only our own, so that no web page reaches us by a DNS trick."""
    return (host, *LOCAL_HOSTS) if is_loopback(host) else ("*",)


class HttpServer:
    """Serves an app on a bound socket inside the running loop; an async context manager."""

    def __init__(
        self,
        app: Starlette,
        listener: socket.socket,
        *,
        connections: PerClient,
        tls: ssl.SSLContext | None = None,
        headers_s: float = HEADERS_S,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        """Serve once it is entered.

        Args:
            app: what answers.
            listener: bound, listening.
            connections: counts those of each address.
            tls: encrypts; ``None``: nothing is encrypted.
            headers_s: longest time until a request's headers have come.
            keep_alive_s: how long a connection may stay idle after an answer.
        """
        self.address = _address(listener)
        self._listener = listener
        config = uvicorn.Config(
            app,
            access_log=False,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            http=limited_protocol(connections, headers_s=headers_s, keep_alive_s=keep_alive_s),
            lifespan="off",
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=STOP_S,
            ws="none",
        )
        config.load()
        config.ssl = tls  # what it makes of file names cannot be renewed
        self._server = _QuietServer(config)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _QuietServer(uvicorn.Server):
    """Leaves signals to the composition root."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
