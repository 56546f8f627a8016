"""More than a server can carry, and models that are replaced under load."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np

from benchmarks.engine.goals import Figure
from benchmarks.engine.steady import Pace
from pipelines.manifest import GRAPH_FILE, read_manifest
from protos.oip import control_pb2
from serving.bench.load import generator
from serving.bench.messages import image_messages
from serving.bench.outcome import Outcome
from serving.bench.schedule import poisson_starts
from serving.bench.scrape import scrape
from serving.bench.server_process import own_server

DEADLINE_S = 0.25
OVERLOAD = 2.0
RELOADS = 50
_LOAD_METHOD = "/inference.GRPCInferenceService/RepositoryModelLoad"


@dataclass(frozen=True)
class Overload:
    """A server before and under twice its capacity; rates by second."""

    peak_rate: float
    outcome: Outcome
    wasted: float

    def figures(self) -> list[Figure]:
        """Goodput, the latency of what was accepted, and the work that was done for nobody."""
        goodput = self.outcome.within(DEADLINE_S) / self.peak_rate
        return [
            Figure("2x capacity, 250 ms deadlines: goodput / peak", goodput, ">=", 0.9),
            Figure("2x capacity: p99 of accepted", self.outcome.percentile_s(99) * 1000, "<=", 250, "ms"),
            Figure("2x capacity: wasted part of inference seconds", self.wasted, "<=", 0.02),
        ]


def overload(package: Path, images: Sequence[bytes], pace: Pace) -> Overload:
    """Find the capacity by a closed loop, then send twice as much at random moments."""
    messages = image_messages(read_manifest(package).name, images)

    async def run(grpc_address: str, http: str) -> Overload:
        async with generator(grpc_address) as sending:
            await sending.closed(messages, concurrency=8, duration_s=pace.load_s / 2)
            peak = await sending.closed(messages, concurrency=32, duration_s=pace.load_s)
            before = await asyncio.to_thread(scrape, http)
            starts_s = poisson_starts(OVERLOAD * peak.rate, pace.load_s * pace.rounds, seed=0)
            outcome = await sending.open(messages, starts_s=starts_s, timeout_s=DEADLINE_S)
            after = (await asyncio.to_thread(scrape, http)).since(before)
        return Overload(peak.rate, outcome, after.wasted_s / after.inference_s)

    with own_server(package) as server:
        return asyncio.run(run(server.grpc, server.http))


@dataclass(frozen=True)
class Reloads:
    """The same load without and with reloads; ``refused`` are the broken ones that did not load, as they should."""

    quiet: Outcome
    busy: Outcome
    loaded: int
    refused: int

    def figures(self) -> list[Figure]:
        """Errors of requests, and what reloads do to the tail."""
        errors = self.busy.sent - self.busy.ok
        ratio = self.busy.percentile_s(99) / self.quiet.percentile_s(99)
        name = f"{self.loaded + self.refused} reloads ({self.refused} broken) at half of capacity"
        return [
            Figure(f"{name}: errors", errors, "<=", 0),
            Figure(f"{name}: p99 / p99 without", ratio, "<=", 1.3),
        ]


def reloads(package: Path, images: Sequence[bytes], root: Path, pace: Pace, *, count: int = RELOADS) -> Reloads:
    """Replace the graph's file by a broken one and by a good one in turns, at half of the capacity."""
    manifest = read_manifest(package)
    folder = root / manifest.name / str(manifest.version)
    shutil.copytree(package, folder)
    messages = image_messages(manifest.name, images)

    async def run(address: str) -> Reloads:
        async with generator(address) as sending:
            await sending.closed(messages, concurrency=8, duration_s=pace.load_s / 2)
            peak = await sending.closed(messages, concurrency=32, duration_s=pace.load_s)
            quiet_s = poisson_starts(peak.rate / 2, pace.load_s * pace.rounds, seed=1)
            quiet = await sending.open(messages, starts_s=quiet_s)
            sent = asyncio.create_task(_reload(address, folder, root / ".spare", count))
            # As long as the reloads take is not known before: rounds of arrivals until they are over.
            rounds: list[Outcome] = []
            while not sent.done():
                starts_s = poisson_starts(peak.rate / 2, pace.load_s, seed=2 + len(rounds))
                rounds.append(await sending.open(messages, starts_s=starts_s))
            loaded, refused = await sent
        return Reloads(quiet, _joined(rounds), loaded, refused)

    with own_server(root, options=("--admin",)) as server:
        return asyncio.run(run(server.grpc))


async def _reload(address: str, folder: Path, spare: Path, count: int) -> tuple[int, int]:
    """Reload ``count`` times, each second time with a graph cut in half; how many were loaded and how many refused.

    Both graphs lie in ``spare`` before, on the same disk: writing them is no part of a reload.
    """
    whole, half = spare / "whole", spare / "half"
    spare.mkdir()
    shutil.copy(folder / GRAPH_FILE, whole)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    name = folder.parent.name
    request = control_pb2.RepositoryModelLoadRequest(model_name=name).SerializeToString()
    loaded = refused = 0
    async with grpc.aio.insecure_channel(address) as channel:
        load = channel.unary_unary(_LOAD_METHOD, None, None)
        for i in range(count):
            _replace(folder / GRAPH_FILE, half if i % 2 == 0 else whole)
            try:
                await load(request)
            except grpc.aio.AioRpcError:
                refused += 1
            else:
                loaded += 1
    return loaded, refused


def _replace(path: Path, by: Path) -> None:
    """In one step, and as new: no reader ever sees a part of it, and each believes that it has changed."""
    part = path.with_name(f".{path.name}.part")
    os.link(by, part)
    os.utime(part)
    part.replace(path)


def _joined(rounds: Sequence[Outcome]) -> Outcome:
    """Rounds as one."""
    codes: Counter[str] = Counter()
    for one in rounds:
        codes.update(one.codes)
    return Outcome(
        codes=codes,
        latency_s=np.sort(np.concatenate([one.latency_s for one in rounds])),
        late_s=np.concatenate([one.late_s for one in rounds]),
        seconds=sum(one.seconds for one in rounds),
        cpu_s=sum(one.cpu_s for one in rounds),
    )
