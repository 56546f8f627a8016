"""What serves, free of any transport: models, their loading and guarding, the data plane, the counting of requests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
from prometheus_client import disable_created_metrics

from pipelines.image import ImageLimits
from serving.arrivals import Arrivals
from serving.calls import Calls, Sink
from serving.catalog import Catalog
from serving.cpu import usable_cores
from serving.dataplane import DataPlane
from serving.gpus import watching_gpus
from serving.guard import Guard, GuardPolicy
from serving.headroom import Headroom
from serving.judge import Judge
from serving.lifecycle import Lifecycle
from serving.loading import Loader
from serving.malloc import keep_large_blocks
from serving.metrics import Metrics
from serving.oip.parts import ServiceParts, service_parts
from serving.repository import embedded_repository
from serving.security.limits import RateLimit
from serving.settings import Settings, StartError
from serving.swap import Swap
from serving.threads import Threads
from serving.tracing.export import tracing_to

# For so long a thread may hold Python's lock while another wants it (Python's default: 5 ms). A request takes the lock
# some ten times; beside a model that loads each time could cost it that long.
SWITCH_S = 0.001


@dataclass(frozen=True)
class Core:
    """The parts that transports are built on.

    Attributes:
        catalog: the models.
        metrics: what is counted.
        lifecycle: loads and unloads models.
        guard: judges what answers, once it is entered.
        plane: answers.
        calls: counts each request.
        oip: of the Open Inference Protocol.
        pixels: threads for what must not be computed on the loop.
        limits: of one image.
    """

    catalog: Catalog
    metrics: Metrics
    lifecycle: Lifecycle
    guard: Guard
    plane: DataPlane
    calls: Calls
    oip: ServiceParts
    pixels: Threads
    limits: ImageLimits


@asynccontextmanager
async def serving_core(
    settings: Settings, *, cores: int | None = None, sinks: Sequence[Sink] = ()
) -> AsyncIterator[Core]:
    """Build the parts; leaving it frees the models.

    Raises StartError where the folders cannot be served.

    Args:
        settings: of the server.
        cores: that it may use; ``None``: its share of those that the process may use.
        sinks: told of each request.
    """
    _tune_process()
    cores = cores or max(1, usable_cores() // settings.processes)
    catalog, metrics = Catalog(), Metrics()
    swap, judge = Swap(catalog, metrics, probation_s=settings.probation_s), Judge(timeout_s=settings.hang_s)
    headroom = Headroom(budget_mb=settings.memory_budget_mb, shared=settings.processes > 1)
    loader = Loader(metrics, headroom, cores=cores, timeout_s=settings.load_timeout_s)
    lifecycle = Lifecycle(settings.models or (embedded(),), catalog, loader, swap, judge, cores=cores)
    guard = Guard(swap, lifecycle, judge, _guard_policy(settings))
    async with AsyncExitStack() as stack:
        pixels = Threads(cores, name="pixels")
        stack.callback(pixels.close)
        stack.enter_context(watching_gpus(metrics.registry))
        await stack.enter_async_context(lifecycle)
        limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        plane = DataPlane(catalog, pixels, limits, longest_s=settings.max_request_s)
        rate = RateLimit(settings.max_requests_per_s) if settings.max_requests_per_s else None
        tracing = stack.enter_context(tracing_to(settings.otlp_endpoint)) if settings.otlp_endpoint else None
        calls = Calls(
            catalog,
            metrics,
            on_outcome=guard.record,
            rate=rate,
            arrivals=Arrivals(tracing.begin if tracing else None),
            sinks=(*sinks, tracing) if tracing else sinks,
        )
        oip = stack.enter_context(service_parts(settings, plane, catalog, calls, metrics, lifecycle))
        yield Core(catalog, metrics, lifecycle, guard, plane, calls, oip, pixels, limits)


def _guard_policy(settings: Settings) -> GuardPolicy:
    return GuardPolicy(
        canary_interval_s=settings.canary_interval_s,
        hang_s=settings.hang_s,
        breaker_calls=settings.breaker_calls,
        breaker_rate=settings.breaker_rate,
        breaker_wait_s=settings.breaker_wait_s,
    )


def embedded() -> Path:
    """The models that are built in; raises StartError where there are none."""
    folder = embedded_repository()
    if not folder.is_dir() or not any(child.is_dir() for child in folder.iterdir()):
        raise StartError(
            "no models are built in, give --models DIR: `ocella zoo pull centerface` fetches one and says where it lies"
        )
    return folder


def _tune_process() -> None:
    keep_large_blocks()
    cv2.setNumThreads(1)  # one image a thread: OpenCV's own threads would take cores from other requests
    sys.setswitchinterval(SWITCH_S)
    disable_created_metrics()  # a second series for each counter that no query asks for
