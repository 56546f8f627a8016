"""``grpc.health.v1``: which models answer, now and at each change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse


class Standing(Protocol):
    """What health is read from: the catalog of one server, or what a router knows of its replicas."""

    def is_serving(self, name: str, /) -> bool | None:
        """Whether a model, or the server where ``name`` is empty, answers; ``None``: not known."""
        ...

    def states(self, name: str, /) -> AsyncIterator[bool | None]:
        """``is_serving(name)`` now and at each change."""
        ...


class Health:
    """The servicer; service ``""`` is the server, any other name a model."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:  # noqa: N802
        """Answer the state; NOT_FOUND for a name that is not known."""
        state = self._standing.is_serving(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model is called {request.service[:64]!r}")
        return HealthCheckResponse(status=_word(state))

    async def Watch(self, request: HealthCheckRequest, context: Any) -> AsyncIterator[HealthCheckResponse]:  # noqa: N802
        """Send the state and each change of it, SERVICE_UNKNOWN for a name that is not known; ends when draining."""
        async for state in self._standing.states(request.service):
            yield HealthCheckResponse(status=_word(state))


def _word(state: bool | None) -> Any:
    if state is None:
        return HealthCheckResponse.SERVICE_UNKNOWN
    return HealthCheckResponse.SERVING if state else HealthCheckResponse.NOT_SERVING
