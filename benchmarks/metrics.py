"""What counting costs: ``python -m benchmarks.metrics [--rounds 20] [--requests 400] [--concurrent 8]``.

Two servers in one process answer the same images in turn, one round each: one counts, the other is the same but for
meters that do nothing. CPU seconds of the whole process are compared, the client's included, and pairs of rounds by
their median, which a burst of a neighbour does not move. On a machine that does other work the pairs differ by more
than counting costs; then what one request's counts take alone, against the CPU seconds of a request, says more.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import timeit
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest import mock

from benchmarks.engine.packages import RESNET, exported, photos, tiny
from serving import core
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from serving.meters import CallMeter, ModelMeter
from serving.metrics import Metrics
from tests.serving.servers import running_server

GOAL = 0.02
COUNTED = 20_000


@dataclass(frozen=True)
class Plan:
    """Pairs of rounds, requests in one round, requests at once."""

    rounds: int
    requests: int
    concurrent: int


class SilentModelMeter(ModelMeter):
    """Counts nothing that a request does."""

    def stages(self, *seconds: float) -> None:
        """Forget an image."""

    def inferred(self, rows: int, queue_s: float, inference_s: float) -> None:
        """Forget tensors."""

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool, padding: int) -> None:
        """Forget a run."""


class SilentCallMeter(CallMeter):
    """Counts no request."""

    def done(self, code: str, seconds: float) -> None:
        """Forget an answer."""


class SilentMetrics(Metrics):
    """Metrics whose meters count nothing that a request does."""

    def __init__(self) -> None:
        super().__init__()
        self._silent = SilentCallMeter(self._families, "", "", "")

    def model(self, name: str, version: int) -> ModelMeter:
        """A meter that forgets."""
        return SilentModelMeter(self._families, self._infos, name, str(version))

    def call(self, model: str, version: str, method: str) -> CallMeter:
        """A meter that forgets, the same for all."""
        return self._silent


def counts_of_a_request_s() -> float:
    """CPU seconds of all that is counted for one image, without a server around it; the least of several rounds."""
    metrics = Metrics()
    model = metrics.model("tiny", 1)

    def count() -> None:
        model.ran(1, 0.016, wasted_s=0.0, terminated=False, padding=0)
        model.stages(0.001, 0.0005, 0.0002, 0.016, 0.0001, 0.0001)
        metrics.call("tiny", "1", "Predict").done("OK", 0.018)

    return min(timeit.repeat(count, timer=time.process_time, number=COUNTED, repeat=5)) / COUNTED


async def open_server(stack: AsyncExitStack, package: Path) -> ListeningServer:
    """A server of one model that does nothing but answer."""
    return await stack.enter_async_context(running_server(package, canary_interval_s=0))


async def cpu_of_a_request(client: AsyncVisionClient, model: str, images: tuple[bytes, ...], plan: Plan) -> float:
    """CPU seconds of this process for one request of a round."""
    asked = iter(range(plan.requests))

    async def worker() -> None:
        for i in asked:
            await client.predict(model, images[i % len(images)])

    start = time.process_time()
    await asyncio.gather(*(worker() for _ in range(plan.concurrent)))
    return (time.process_time() - start) / plan.requests


async def measure(package: Path, images: tuple[bytes, ...], plan: Plan) -> None:
    """Print what a request costs with and without counting."""
    async with AsyncExitStack() as stack:
        counting = await open_server(stack, package)
        with mock.patch.object(core, "Metrics", SilentMetrics):
            quiet = await open_server(stack, package)
        clients = [
            await stack.enter_async_context(AsyncVisionClient(server.grpc_address)) for server in (counting, quiet)
        ]
        model = counting.plane.models()[0].name
        ratios, costs = [], []
        for turn in range(plan.rounds + 1):
            spent = [0.0, 0.0]
            for i in (0, 1) if turn % 2 else (1, 0):
                spent[i] = await cpu_of_a_request(clients[i], model, images, plan)
            if turn:  # the first pair warms up
                ratios.append(spent[0] / spent[1] - 1)
                costs.append(spent[1])
    print(
        f"{model}: counting adds {median(ratios):+.2%} to {median(costs) * 1e3:.3f} ms of CPU a request "
        f"(pairs from {min(ratios):+.2%} to {max(ratios):+.2%}); its counts alone are "
        f"{counts_of_a_request_s() / median(costs):.2%}; the goal is below {GOAL:.0%}",
        flush=True,
    )


def main() -> None:
    """Read the command line and measure a model of 16 ms and one of next to nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--requests", type=int, default=400, help="in a round of the tiny model; a quarter of ResNet-18"
    )
    parser.add_argument("--concurrent", type=int, default=8)
    given = parser.parse_args()
    images = photos()
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(measure(tiny(Path(root)), images, Plan(given.rounds, given.requests, given.concurrent)))
    asyncio.run(measure(exported(RESNET), images, Plan(given.rounds, given.requests // 4, given.concurrent)))


if __name__ == "__main__":
    main()
