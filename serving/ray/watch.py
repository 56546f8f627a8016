"""Asks Ray's controller which models there are and how they do, again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from serving.ray.names import DEPLOYMENT, app_of, model_of
from serving.ray.standing import Standing, State

PERIOD_S = 1.0
_TAKE_REQUESTS = frozenset({"RUNNING", "UPDATING"})
_log = logging.getLogger(__name__)


class Watch:
    """Keeps ``standing`` up to date, and Ray's handles of the models.

    Attributes:
        handles: by model.
    """

    def __init__(self, standing: Standing) -> None:
        self.handles: dict[str, Any] = {}
        self._standing = standing

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001, a controller that restarts must not end a router
                _log.warning("Ray's controller did not answer: %s", error)

    async def look(self) -> None:
        """Look once."""
        from ray import serve

        states: dict[str, State] = {}
        for app, told in (await asyncio.to_thread(serve.status)).applications.items():
            model = model_of(app)
            if model is not None and told.status != "DELETING":
                states[model] = _state(told.deployments.get(DEPLOYMENT))
        for model in states.keys() - self.handles.keys():
            self.handles[model] = await asyncio.to_thread(serve.get_deployment_handle, DEPLOYMENT, app_of(model))
        for model in self.handles.keys() - states.keys():
            del self.handles[model]
        self._standing.put(states)


def _state(told: Any) -> State:
    if told is None:
        return State()
    replicas = sum(count for state, count in told.replica_states.items() if state in _TAKE_REQUESTS)
    return State.of(told.status, replicas=replicas, message=told.message)
