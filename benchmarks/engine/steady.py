"""Closed loops: what an image costs a server against the floor, and how evenly it answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.goals import Figure
from serving.bench.figures import Figures
from serving.bench.rounds import Closed, Measured, Plan, measure
from serving.bench.subject import of_package


@dataclass(frozen=True)
class Pace:
    """How long and how often is measured.

    Attributes:
        load_s: seconds of a load.
        rounds: of each load.
        requests: of many shapes, over which memory is watched.
        shapes: that these have.
    """

    load_s: float
    rounds: int
    requests: int = 10_000
    shapes: int = 500


def measure_package(
    package: Path, images: Sequence[bytes], concurrencies: Sequence[int], pace: Pace, *, tensor: bool = False
) -> Measured:
    """Serve a package and measure it, each round beside its floor."""
    with of_package(package, images=images, tensor=tensor, duration_s=pace.load_s) as subject:
        plan = Plan(
            messages=subject.messages,
            loads=tuple(Closed(one) for one in concurrencies),
            duration_s=pace.load_s,
            rounds=pace.rounds,
            http=subject.http,
        )
        return asyncio.run(measure(subject.grpc, plan, floor=subject.floor))


def cpu_figure(model: str, measured: Measured, *, goal: float) -> Figure:
    """The server's CPU time of an image at 32 concurrent, against the floor's."""
    name = f"{model}: server CPU of a JPEG / floor, 32 concurrent"
    return Figure(name, _by_load(measured)[32].cpu_ratio, "<=", goal)


def rate_figure(model: str, measured: Measured, *, goal: float, cores: int) -> Figure:
    """Images a second at 32 concurrent against the floor's, as if the generator's cores were the server's, too."""
    load = _by_load(measured)[32]
    left = cores - load.generator_cores
    value = load.rate_ratio * cores / left if left > 0 else math.nan
    return Figure(f"{model}: images/s / floor x cores / (cores - generator's), 32 concurrent", value, ">=", goal)


def added_latency(model: str, measured: Measured) -> Figure:
    """What a server adds to a lone image."""
    value = _by_load(measured)[1].added_s * 1000
    return Figure(f"{model}: added latency at 1 concurrent, p50", value, "<=", 0.6, "ms")


def tail(model: str, measured: Measured) -> Figure:
    """How even the latencies are."""
    load = _by_load(measured)[8]
    return Figure(f"{model}: p99 / p50 at 8 concurrent", load.p99_s / load.p50_s, "<=", 1.4)


def flatness(model: str, measured: Measured) -> tuple[Figure, Figure]:
    """The CPU time of an image over loads: the largest against the smallest, and alone against that at 8."""
    loads = _by_load(measured)
    together = [loads[concurrency].server_cpu_s for concurrency in (8, 32, 128)]
    name = f"{model}: CPU of an image at"
    return (
        Figure(f"{name} 8, 32, 128 concurrent, most / least", max(together) / min(together), "<=", 1.1),
        Figure(f"{name} 1 concurrent / at 8", loads[1].server_cpu_s / loads[8].server_cpu_s, "<=", 1.25),
    )


def tensor_figures(measured: Measured, bare_s: float) -> tuple[Figure, Figure]:
    """Requests by second of the server's CPU time, and that time against ``bare_s``, which grpc.aio alone takes.

    The first goal was set on a machine where a bare server took 0.16 ms; the second is the same, free of the machine.
    """
    cpu_s = _by_load(measured)[32].server_cpu_s
    return (
        Figure("tiny tensors: requests by core-second of the server, 32 concurrent", 1 / cpu_s, ">=", 5500),
        Figure("tiny tensors: server CPU of a request / that of a bare grpc.aio server", cpu_s / bare_s, "<=", 1.14),
    )


def _by_load(measured: Measured) -> Mapping[int, Figures]:
    return {int(one.load.split(" ", 1)[0]): one for one in measured.loads}
