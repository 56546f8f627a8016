"""The composition root: builds the server from its settings, starts it, stops it in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import generate_latest

from serving.calls import Calls, Sink
from serving.catalog import Catalog
from serving.core import Core, serving_core
from serving.dataplane import DataPlane
from serving.faces_plane import FacesPlane
from serving.faces_service import Faces
from serving.grpc_server import ENVELOPE_BYTES, build_grpc_server
from serving.guard import Guard
from serving.health import Health
from serving.http_server import HttpServer, allowed_hosts, build_app, build_health_app
from serving.lifecycle import Lifecycle
from serving.logs.access import log_request
from serving.logs.entry import event
from serving.member import ALL, socket_of, telling
from serving.metrics import Metrics
from serving.oip.service import InferenceService
from serving.open_files import promised_files, raise_open_files
from serving.ports import bind
from serving.probes import OwnProbes, Probes, SharedProbes, state_of
from serving.rest.parts import RestParts
from serving.security.follow import Follower
from serving.security.grpc_connections import GrpcConnections
from serving.security.limits import PerClient
from serving.security.parts import SecurityParts, security_parts
from serving.settings import Settings, check_exposure, exposure_warnings
from serving.signals import stop_on_signals
from serving.snapshot import Snapshot
from serving.vision import Vision, VisionParts
from serving.watcher import Watcher

# Once no request is inside any more: how long none must come before gRPC stops, how long that is waited for, and the
# time that answers on their way out then have.
QUIET_S = 0.25
LINGER_S = 2.0
FLUSH_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListeningServer:
    """A server that listens; its models are known, and answer once ``load`` has brought them in.

    Attributes:
        grpc_address: ``host:port``.
        http_address: ``host:port``.
        catalog: its models.
        plane: what its transports call.
        metrics: what it counts.
        lifecycle: loads and unloads its models.
        health_address: ``host:port`` of the port for probes alone; ``None`` where there is none.
    """

    grpc_address: str
    http_address: str
    catalog: Catalog
    plane: DataPlane
    metrics: Metrics
    lifecycle: Lifecycle
    health_address: str | None = None

    async def load(self) -> None:
        """Load every model; one that fails does not stop the others. Raises StartError where none loads."""
        await self.lifecycle.start()


@asynccontextmanager
async def listening(settings: Settings, *, sinks: Sequence[Sink] = ()) -> AsyncIterator[ListeningServer]:
    """Build a server and bind its ports; leaving it refuses what is new and finishes what is inside.

    ``sinks`` are told of each request.

    Raises StartError for whatever makes a start impossible: folders, address, ports.
    """
    check_exposure(settings)
    security = security_parts(settings)
    for line in filter(None, (*exposure_warnings(settings), raise_open_files(promised_files(settings)))):
        _log.warning(line)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(serving_core(settings, sinks=sinks))
        catalog, metrics, guard, plane, calls = core.catalog, core.metrics, core.guard, core.plane, core.calls
        probes = await stack.enter_async_context(_probes(settings, catalog, metrics, guard))
        rest = rest_parts(settings, core, security)
        app = build_app(probes, rest, allowed_hosts=allowed_hosts(settings.host))
        shared = settings.member_of is not None
        listener = stack.enter_context(bind(settings.host, settings.http_port, protocol="HTTP", shared=shared))
        certificate = security.tls.http_context() if security.tls else None
        server_of_http = HttpServer(app, listener, connections=security.connections, tls=certificate)
        http = await stack.enter_async_context(server_of_http)
        health_address = await _serve_health(stack, settings, probes)
        parts = VisionParts(plane, catalog, calls, metrics, settings.stream_window)
        galleries = FacesPlane(
            plane, catalog, core.limits, galleries=settings.galleries, keep_crops=settings.keep_crops
        )
        faces = Faces(stack.enter_context(galleries), calls)
        inference, health = InferenceService(core.oip), Health(catalog)
        server, grpc_address = build_grpc_server(
            settings, Vision(parts), faces, inference, health, calls=calls, security=security
        )
        await server.start()
        port = int(grpc_address.rpartition(":")[2])
        await stack.enter_async_context(GrpcConnections(port, most=settings.max_connections))
        if security.followed:
            await stack.enter_async_context(Follower(security.followed, interval_s=settings.secrets_interval_s))
        stack.push_async_callback(_stop, server, catalog, plane, calls, settings.grace_s)
        await stack.enter_async_context(guard)
        if settings.watch:
            await stack.enter_async_context(Watcher(core.lifecycle, interval_s=settings.watch_interval_s))
        yield ListeningServer(
            grpc_address, http.address, catalog, plane, metrics, core.lifecycle, health_address=health_address
        )


def rest_parts(settings: Settings, core: Core, security: SecurityParts) -> RestParts:
    """What the REST paths are made of."""
    return RestParts(
        core.oip,
        core.plane,
        core.pixels,
        core.limits,
        max_body=settings.max_image_bytes + ENVELOPE_BYTES,
        access=security.access,
        uploads=security.uploads,
        longest_s=settings.max_request_s,
    )


async def _serve_health(stack: AsyncExitStack, settings: Settings, probes: Probes) -> str | None:
    """Serve the port for probes alone, where there is one; its address.

    It counts connections for itself: callers that hold all of an address' HTTP connections must not end its probes.
    """
    if settings.health_port is None:
        return None
    shared = settings.member_of is not None
    listener = stack.enter_context(bind(settings.host, settings.health_port, protocol="health", shared=shared))
    app = build_health_app(probes, allowed_hosts=allowed_hosts(settings.host))
    connections = PerClient("connections", settings.max_connections)
    return (await stack.enter_async_context(HttpServer(app, listener, connections=connections))).address


@asynccontextmanager
async def _probes(settings: Settings, catalog: Catalog, metrics: Metrics, guard: Guard) -> AsyncIterator[Probes]:
    """What the probes of HTTP look at; one of several processes also tells of itself."""
    if settings.member_of is None:
        yield OwnProbes(catalog, metrics.registry, is_alive=lambda: guard.alive)
        return

    async def tell() -> Snapshot:
        text = await asyncio.to_thread(generate_latest, metrics.registry)
        return state_of(catalog, alive=guard.alive, metrics=text.decode())

    async with telling(socket_of(settings.member_of, settings.member), tell):
        yield SharedProbes(settings.member_of / ALL)


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once. Raises StartError."""
    async with listening(settings, sinks=(log_request,)) as server:
        stopped = asyncio.create_task(stop_on_signals().wait())
        load = asyncio.create_task(server.load())
        health = f", health on {server.health_address}" if server.health_address else ""
        announce(f"gRPC on {server.grpc_address}, HTTP on {server.http_address}{health}")
        where = event("server_listening", grpc=server.grpc_address, http=server.http_address)
        _log.info("the server listens and loads its models", extra=where)
        try:
            await asyncio.wait((stopped, load), return_when=asyncio.FIRST_COMPLETED)
            if load.done():
                load.result()
                announce(_readiness(server.catalog))
                _log.info("every model was tried", extra=_tried(server.catalog))
                await stopped
        finally:
            load.cancel()
            stopped.cancel()
        announce("stopping")
        _log.info("the server stops, what is inside is finished first", extra=event("server_stopping"))


def _tried(catalog: Catalog) -> dict[str, Any]:
    statuses = catalog.statuses()
    ready = sum(status.ready for status in statuses)
    return event("server_ready", models_ready=ready, models_not_ready=len(statuses) - ready)


def _readiness(catalog: Catalog) -> str:
    statuses = catalog.statuses()
    ready = ", ".join(f"{status.name} {status.version}" for status in statuses if status.ready)
    failed = [f"not ready: {status.name} {status.version}: {status.reason}" for status in statuses if not status.ready]
    return "\n".join([f"ready: {ready}", *failed])


async def _stop(server: Any, catalog: Catalog, plane: DataPlane, calls: Calls, grace_s: float) -> None:
    """Refuse what is new, finish what is inside, end with DrainingError what is still there after ``grace_s``."""
    catalog.drain()
    try:
        async with asyncio.timeout(grace_s):
            await plane.wait_empty()
    except TimeoutError:
        plane.abort()
        await plane.wait_empty()
    await _until_quiet(calls)
    await server.stop(FLUSH_S)


async def _until_quiet(calls: Calls) -> None:
    """Wait until no request has come for a moment.

    gRPC holds requests that it read from their connection and has not handed to us yet; stopped now, it would tell
    their clients CANCELLED, as if they had left. A moment that ended late does not count: a machine that kept this loop
    waiting kept gRPC's threads waiting, too.
    """
    end = time.monotonic() + LINGER_S
    while (begun := time.monotonic()) < end:
        seen = calls.arrived
        await asyncio.sleep(QUIET_S)
        if calls.arrived == seen and time.monotonic() < begun + 2 * QUIET_S:
            return
