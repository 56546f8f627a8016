"""What ``/metrics``, ``/healthz`` and ``/readyz`` answer: of this process alone, or of all that share its ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, exposition

from serving.catalog import Catalog
from serving.member import ask
from serving.snapshot import Snapshot

_ASK_S = 5.0
_NOBODY = Snapshot(alive=True, ready=False, models_ready=0, models_not_ready=0, metrics="")


class NoAnswerError(Exception):
    """Nobody told what was asked for."""


class Probes(Protocol):
    """Where the three routes look."""

    async def state(self) -> Snapshot:
        """Liveness and readiness; its ``metrics`` may be empty."""
        ...

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Metrics and their content type, for the ``Accept`` header of a request; raises NoAnswerError."""
        ...


class OwnProbes:
    """Of a server of one process."""

    def __init__(self, catalog: Catalog, registry: CollectorRegistry, *, is_alive: Callable[[], bool]) -> None:
        self._catalog = catalog
        self._registry = registry
        self._is_alive = is_alive

    async def state(self) -> Snapshot:
        """Liveness and readiness."""
        return state_of(self._catalog, alive=self._is_alive())

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Prometheus' text format, or OpenMetrics for those who ask for it."""
        encode, content_type = exposition.choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), content_type


class SharedProbes:
    """Of several processes that share their ports; their supervisor knows of all."""

    def __init__(self, supervisor: Path) -> None:
        """``supervisor``: its socket."""
        self._supervisor = supervisor

    async def state(self) -> Snapshot:
        """Liveness and readiness of all."""
        try:
            return await self._ask()
        except NoAnswerError:
            return _NOBODY

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Prometheus' text format, whatever is asked for; raises NoAnswerError where the supervisor does not tell."""
        _, content_type = exposition.choose_encoder("")  # of the text that processes tell each other
        return (await self._ask()).metrics.encode(), content_type

    async def _ask(self) -> Snapshot:
        try:
            return await ask(self._supervisor, timeout_s=_ASK_S)
        except (OSError, ValueError) as error:
            raise NoAnswerError("the supervisor of this server's processes must answer, it does not") from error


def state_of(catalog: Catalog, *, alive: bool, metrics: str = "") -> Snapshot:
    """What this process says of itself."""
    statuses = catalog.statuses()
    answering = sum(status.ready for status in statuses)
    return Snapshot(
        alive=alive,
        ready=bool(catalog.is_serving("")),
        models_ready=answering,
        models_not_ready=len(statuses) - answering,
        metrics=metrics,
    )
