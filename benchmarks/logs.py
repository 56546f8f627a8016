"""What a request's id, trace and line cost in CPU time: ``python -m benchmarks.logs [--requests 20000]``.

The same requests, which do nothing, are counted by ``Calls`` alone, then with arrivals and with a log to a file,
in order. CPU time of the whole process, so that of the log's thread is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

from serving.arrivals import Arrivals
from serving.calls import Calls
from serving.catalog import Catalog, ModelStatus
from serving.logs.access import log_request
from serving.logs.install import logging_to_stderr
from serving.metrics import Metrics
from serving.trail import current_trail

ROUNDS = 7
STAGES = (0.001, 0.0005, 0.002, 0.004, 0.0003, 0.0001)
PARENT = f"00-{'a1' * 16}-{'b2' * 8}-01"


class Context:
    """A gRPC call as its handler sees it, of a client that sends an id and a trace."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """As a client of ours sends it."""
        return (("user-agent", "grpc-python-asyncio"), ("x-request-id", "0123456789abcdef"), ("traceparent", PARENT))

    def peer(self) -> str:
        """Who asks."""
        return "ipv4:127.0.0.1:50000"

    def set_trailing_metadata(self, _: object) -> None:
        """Send nothing."""


async def cpu_s(requests: int, calls: Calls, arrive: Callable[[Any, str], object] | None) -> float:
    """CPU seconds of one request, the median of several rounds."""
    context = Context()

    async def work() -> None:
        trail = current_trail()
        assert trail is not None
        trail.answered(STAGES, (480, 640))

    async def handle() -> None:
        if arrive is not None:
            arrive(context, "grpc")
        await calls.run("Predict", work(), deadline=math.inf, model="cats", version=1)

    async def turn(handler: Callable[[], Awaitable[None]]) -> float:
        start = time.process_time()
        for _ in range(requests // ROUNDS // 100):
            for _ in range(100):
                await handler()
            await asyncio.sleep(0)  # a server's loop lets go of the interpreter now and then
        return (time.process_time() - start) / (requests // ROUNDS // 100 * 100)

    return median([await turn(handle) for _ in range(ROUNDS)])


@contextlib.contextmanager
def stderr_to_nowhere() -> Iterator[None]:
    """What is written costs what writing costs, and is read by nobody."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


async def measure(requests: int) -> None:
    """Print each way's cost, and what it adds to the one before it."""
    catalog = Catalog()
    catalog.put_status(ModelStatus("cats", 1))
    plain, logging = Calls(catalog, Metrics()), Calls(catalog, Metrics(), sinks=(log_request,))
    counted = await cpu_s(requests, plain, None)
    named = await cpu_s(requests, plain, Arrivals().grpc)
    with stderr_to_nowhere(), logging_to_stderr(log_format="json", level="info"):
        logged = await cpu_s(requests, logging, Arrivals().grpc)
    with stderr_to_nowhere(), logging_to_stderr(log_format="json", level="error"):
        silent = await cpu_s(requests, logging, Arrivals().grpc)
    for name, seconds in (
        ("counted alone", counted),
        ("with id and trace", named),
        ("with a line that is not written (--log-level error)", silent),
        ("with its line in JSON", logged),
    ):
        print(f"{name:<52} {seconds * 1e6:6.1f} us {(seconds - counted) * 1e6:+6.1f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    asyncio.run(measure(parser.parse_args().requests))


if __name__ == "__main__":
    main()
