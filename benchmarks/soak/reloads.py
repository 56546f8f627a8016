"""Reloads under the traffic of the soak: a version that comes, one that is broken, and both going away again."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks.soak.models import RELOADED, add_version, remove_version
from benchmarks.soak.outcome import OK, Outcome
from protos.oip import control_pb2

_LOAD_S = 120.0
_GOOD, _BROKEN = 2, 3
_FAILS = frozenset({"UNAVAILABLE"})


async def reload_until(stop: asyncio.Event, root: Path, oip: Any, *, pause_s: float) -> list[Outcome]:
    """Reload again and again, a pause between two loads, until ``stop``; what the loads were answered."""
    outcomes: list[Outcome] = []
    numbers = itertools.count(1)

    async def load(allowed: frozenset[str]) -> None:
        request_id, code, words = f"soak-load-{next(numbers)}", OK, ""
        request = control_pb2.RepositoryModelLoadRequest(model_name=RELOADED)
        try:
            await oip.RepositoryModelLoad(request, metadata=(("x-request-id", request_id),), timeout=_LOAD_S)
        except grpc.aio.AioRpcError as error:
            code, words = error.code().name, error.details() or ""
        outcomes.append(
            Outcome(request_id=request_id, method="RepositoryModelLoad", code=code, allowed=allowed, words=words)
        )
        try:
            async with asyncio.timeout(pause_s):
                await stop.wait()
        except TimeoutError:
            return

    while not stop.is_set():
        await asyncio.to_thread(add_version, root, _GOOD, broken=False)
        await load(frozenset({OK}))
        await asyncio.to_thread(add_version, root, _BROKEN, broken=True)
        await load(_FAILS)
        await asyncio.to_thread(remove_version, root, _BROKEN)
        await asyncio.to_thread(remove_version, root, _GOOD)
        await load(frozenset({OK}))
    return outcomes
