"""Load from several processes at once: one cannot send more than its own core encodes."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from serving.bench.load import generator
from serving.bench.messages import Messages
from serving.bench.outcome import Outcome
from serving.bench.schedule import Seconds
from serving.bench.scrape import scrape

_START_S = 0.5  # by then each process has its connections


@dataclass(frozen=True)
class Sent:
    """What one process sent, in a form that travels: see ``Outcome``."""

    sent: int
    latency_s: Seconds
    seconds: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a closed loop came to; seconds, and counts by second.

    Attributes:
        concurrency: requests under way at once.
        rate: results.
        p50_s: of the latency.
        p99_s: of the latency.
        failed: requests without a result.
        generator_cores: that the load itself kept busy.
        server_cores: that the server kept busy.
        rows_per_run: mean size of the server's batches.
    """

    concurrency: int
    rate: float
    p50_s: float
    p99_s: float
    failed: int
    generator_cores: float
    server_cores: float
    rows_per_run: float


def closed_loop(
    pool: ProcessPoolExecutor,
    grpc: str,
    http: str,
    messages: Messages,
    *,
    concurrency: int,
    processes: int,
    load_s: float,
) -> Load:
    """Keep ``concurrency`` requests under way for ``load_s``, spread over so many processes of ``pool``."""
    parts = [concurrency // processes + (i < concurrency % processes) for i in range(min(processes, concurrency))]
    start = time.time() + _START_S
    before = scrape(http)
    sent = [pool.submit(_send, grpc, messages, part, load_s, start) for part in parts]
    outcomes = [one.result() for one in sent]
    server = scrape(http).since(before)
    seconds = max(one.seconds for one in outcomes)
    latency_s = np.sort(np.concatenate([one.latency_s for one in outcomes]))
    return Load(
        concurrency=concurrency,
        rate=len(latency_s) / seconds,
        p50_s=float(np.percentile(latency_s, 50, method="inverted_cdf")),
        p99_s=float(np.percentile(latency_s, 99, method="inverted_cdf")),
        failed=sum(one.sent - len(one.latency_s) for one in outcomes),
        generator_cores=sum(one.cpu_s for one in outcomes) / seconds,
        server_cores=server.cpu_s / seconds,
        rows_per_run=server.images / max(1.0, server.runs),
    )


def _send(grpc: str, messages: Messages, concurrency: int, load_s: float, start: float) -> Sent:
    async def send() -> Outcome:
        async with generator(grpc) as sending:
            await sending.closed(messages, concurrency=1, duration_s=0.05)
            await asyncio.sleep(max(0.0, start - time.time()))
            return await sending.closed(messages, concurrency=concurrency, duration_s=load_s)

    outcome = asyncio.run(send())
    return Sent(outcome.sent, outcome.latency_s, outcome.seconds, outcome.cpu_s)
