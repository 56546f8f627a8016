"""HTTP beside gRPC: metrics and probes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serving.probes import Probes
from serving.settings import is_loopback

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# Probes and scrapes take milliseconds; one that still runs at a stop need not be waited for longer.
_STOP_S = 2


def build_app(probes: Probes, *, allowed_hosts: tuple[str, ...]) -> Starlette:
    """The routes ``/metrics``, ``/healthz`` (the process lives) and ``/readyz`` (models answer)."""

    async def scrape(request: Request) -> Response:
        text, content_type = await probes.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

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

    return Starlette(
        routes=[Route("/metrics", scrape), Route("/healthz", live), Route("/readyz", ready)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)],
    )


def allowed_hosts(host: str) -> tuple[str, ...]:
    """Names that a request's Host may have: on loopback only our own, so that no web page reaches us by a DNS trick."""
    return (host, *LOCAL_HOSTS) if is_loopback(host) else ("*",)


class HttpServer:
    """Serves an app on a bound socket inside the running loop; an async context manager."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self.address = _address(listener)
        self._listener = listener
        config = uvicorn.Config(
            app,
            access_log=False,
            lifespan="off",
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
            ws="none",
        )
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
