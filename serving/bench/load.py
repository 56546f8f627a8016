"""Sends encoded requests over gRPC and measures the answers: closed loop or open loop, over several connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import numpy as np

from serving.bench.messages import Messages
from serving.bench.outcome import OK, Outcome
from serving.bench.schedule import Seconds
from serving.client.channel import CHANNEL_OPTIONS, check_address

CONNECTIONS = 4
# Without it channels to one address share one connection, and the server takes turns between connections.
_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


class Generator:
    """Open connections to one server; made by ``generator``.

    Attributes:
        server: its address.
    """

    def __init__(self, server: str, channels: Sequence[Any]) -> None:
        self.server = server
        self._channels = tuple(channels)

    async def closed(
        self, messages: Messages, *, concurrency: int, duration_s: float, timeout_s: float | None = None
    ) -> Outcome:
        """Keep ``concurrency`` requests under way for ``duration_s``, then wait for those that are left.

        ``timeout_s``: deadline of each request.
        """
        calls = itertools.cycle(self._calls(messages.method))
        bodies = itertools.cycle(messages.bodies)
        tally = _Tally()
        cpu, start = time.process_time(), time.monotonic()

        async def worker(call: Any) -> None:
            while (sent := time.monotonic()) < start + duration_s:
                tally.add(await _code(call, next(bodies), timeout_s), time.monotonic() - sent)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker(next(calls)))
        return tally.outcome(seconds=time.monotonic() - start, cpu_s=time.process_time() - cpu)

    async def open(self, messages: Messages, *, starts_s: Seconds, timeout_s: float | None = None) -> Outcome:
        """Send a request at each of ``starts_s`` (ascending seconds from now), whatever became of those before."""
        calls = itertools.cycle(self._calls(messages.method))
        bodies = itertools.cycle(messages.bodies)
        tally, late_s = _Tally(), np.zeros(len(starts_s))
        cpu, start = time.process_time(), time.monotonic()

        async def one(call: Any, body: bytes, due: float) -> None:
            tally.add(await _code(call, body, timeout_s), time.monotonic() - due)

        async with asyncio.TaskGroup() as group:
            for i, due in enumerate(start + starts_s):
                while (pause_s := due - time.monotonic()) > 0:  # a loop may wake a little early
                    await asyncio.sleep(pause_s)
                late_s[i] = time.monotonic() - due
                group.create_task(one(next(calls), next(bodies), due))
        return tally.outcome(seconds=time.monotonic() - start, cpu_s=time.process_time() - cpu, late_s=late_s)

    def _calls(self, method: str) -> Iterator[Any]:
        """The method on each connection; bytes go and come as they are."""
        return (channel.unary_unary(method) for channel in self._channels)


class _Tally:
    """Counts the answers of one round."""

    def __init__(self) -> None:
        self._codes: Counter[str] = Counter()
        self._latency_s: list[float] = []

    def add(self, code: str, latency_s: float) -> None:
        self._codes[code] += 1
        if code == OK:
            self._latency_s.append(latency_s)

    def outcome(self, *, seconds: float, cpu_s: float, late_s: Seconds | None = None) -> Outcome:
        return Outcome(
            codes=self._codes,
            latency_s=np.sort(np.array(self._latency_s, np.float64)),
            seconds=seconds,
            cpu_s=cpu_s,
            late_s=np.empty(0) if late_s is None else late_s,
        )


@asynccontextmanager
async def generator(server: str, *, connections: int = CONNECTIONS) -> AsyncIterator[Generator]:
    """Connect to a server, each connection a TCP connection of its own; raises InvalidRequestError for no address."""
    options = (*CHANNEL_OPTIONS, _OWN_CONNECTION)
    channels = [grpc.aio.insecure_channel(check_address(server), options=options) for _ in range(connections)]
    try:
        yield Generator(server, channels)
    finally:
        for channel in channels:
            await channel.close(None)


async def _code(call: Any, body: bytes, timeout_s: float | None) -> str:
    """Send one request; the name of the code of its answer."""
    try:
        await call(body, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return OK
