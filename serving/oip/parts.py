"""What the Open Inference Protocol is made of, for both of its transports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving.calls import Calls
from serving.catalog import Catalog
from serving.dataplane import DataPlane
from serving.lifecycle import Lifecycle
from serving.metrics import Metrics
from serving.oip.control import Control
from serving.oip.inference import Inference
from serving.oip.shared_memory import SharedMemory
from serving.settings import Settings


@dataclass(frozen=True)
class ServiceParts:
    """The parts.

    Attributes:
        inference: answers requests.
        control: changes the server.
        catalog: which models there are.
        calls: counts each request.
        metrics: what statistics are read from.
        memory: regions of shared memory; ``None`` where it is not allowed.
        window: requests of one stream in work at once.
        max_elements: of one tensor.
    """

    inference: Inference
    control: Control
    catalog: Catalog
    calls: Calls
    metrics: Metrics
    memory: SharedMemory | None
    window: int
    max_elements: int


@contextmanager
def service_parts(
    settings: Settings, plane: DataPlane, catalog: Catalog, calls: Calls, metrics: Metrics, lifecycle: Lifecycle
) -> Iterator[ServiceParts]:
    """Build the parts; leaving it lets go of the shared memory that clients registered."""
    memory = SharedMemory() if settings.allow_shared_memory else None
    try:
        yield ServiceParts(
            inference=Inference(plane, catalog, max_images=settings.max_request_images),
            # With tokens, who calls was asked for the role before.
            control=Control(lifecycle, memory, admin=settings.admin or settings.tokens is not None),
            catalog=catalog,
            calls=calls,
            metrics=metrics,
            memory=memory,
            window=settings.stream_window,
            max_elements=settings.max_tensor_elements,
        )
    finally:
        if memory:
            memory.unregister_all()
