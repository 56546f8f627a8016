"""The least that grpc.aio costs: a server that reads nothing and answers the same bytes to each tensor request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import grpc.aio

from serving import event_loop
from serving.bench.load import generator
from serving.bench.messages import MODEL_INFER, Messages

ANSWER = bytes(100)  # about what a classifier of ten classes answers
METHOD = MODEL_INFER
_SECONDS_OF_A_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class BareServer:
    """A process that answers; ``address`` is ``host:port``."""

    address: str
    pid: int


@contextmanager
def bare_server() -> Iterator[BareServer]:
    """Start one on a free port of loopback; leaving it stops it."""
    with subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield BareServer(process.stdout.readline().strip(), process.pid)
        finally:
            process.kill()


@dataclass(frozen=True, kw_only=True)
class BareCost:
    """What the bare server costs a request.

    Attributes:
        cpu_s: of its processor time, 32 concurrent.
        p50_s: median latency, one at a time.
    """

    cpu_s: float
    p50_s: float

    def __str__(self) -> str:
        return (
            f"a bare grpc.aio server: {self.cpu_s * 1000:.2f} ms of CPU a request at 32 concurrent, "
            f"p50 {self.p50_s * 1000:.2f} ms at 1"
        )


def measure_bare(server: BareServer, messages: Messages, *, duration_s: float) -> BareCost:
    """Send alone, then 32 at once."""

    async def send() -> BareCost:
        async with generator(server.address) as sending:
            alone = await sending.closed(messages, concurrency=1, duration_s=duration_s)
            before = _cpu_s(server.pid)
            many = await sending.closed(messages, concurrency=32, duration_s=duration_s)
            cpu_s = _cpu_s(server.pid) - before
        return BareCost(cpu_s=cpu_s / many.ok, p50_s=alone.percentile_s(50))

    return asyncio.run(send())


def mean_of(costs: Sequence[BareCost]) -> BareCost:
    """The mean of each figure."""
    return BareCost(cpu_s=fmean(one.cpu_s for one in costs), p50_s=fmean(one.p50_s for one in costs))


def _cpu_s(pid: int) -> float:
    """Of a process, in user and system mode (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _SECONDS_OF_A_TICK


async def _serve() -> None:
    async def answer(_: bytes, __: Any) -> bytes:
        return ANSWER

    server = grpc.aio.server()
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    event_loop.run(_serve())
