"""What all models of a cluster are, asked of their replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving.catalog import ModelStatus
from serving.ray.standing import Standing, State

_ASK_S = 2.0


class Overview:
    """Knows each model's versions: as a replica says, or as one said last where none answers."""

    def __init__(self, handles: Mapping[str, Any], standing: Standing) -> None:
        self._handles = handles
        self._standing = standing
        self._last: dict[str, Sequence[ModelStatus]] = {}

    async def statuses(self) -> tuple[ModelStatus, ...]:
        """Every known model version, by name, then version; 0 stands for a version that no replica has told."""
        states = self._standing.all()
        told = await asyncio.gather(*(self._of(model, states[model]) for model in sorted(states)))
        return tuple(status for statuses in told for status in statuses)

    async def _of(self, model: str, state: State) -> Sequence[ModelStatus]:
        if state.replicas and (answered := await self._ask(model)):
            self._last[model] = answered
            return answered
        reason = state.reason if not state.replicas else "its replicas do not say"
        return [replace(status, reason=reason) for status in self._last.get(model, (ModelStatus(model, 0),))]

    async def _ask(self, model: str) -> Sequence[ModelStatus] | None:
        response = self._handles[model].statuses.remote()
        try:
            async with asyncio.timeout(_ASK_S):
                answered: Sequence[ModelStatus] = await response
        except Exception:  # noqa: BLE001, whatever Ray raises where a replica is just lost
            response.cancel()
            return None
        return answered
