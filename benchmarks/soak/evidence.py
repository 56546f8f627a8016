"""What the server itself says of the soak: the lines of its log, its counters, its memory over time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from prometheus_client.parser import text_string_to_metric_families

Row: TypeAlias = Mapping[str, Any]
# By method and code.
Counts: TypeAlias = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Scraped:
    """The server's counters at one moment.

    Attributes:
        requests: answers, also those inside of streams.
        seconds: that requests took, in sum, by method.
        dropped: requests of streams that gave way.
        resident_bytes: memory of the process.
        inflight: requests inside.
    """

    requests: Counts
    seconds: Mapping[str, float]
    dropped: int
    resident_bytes: float
    inflight: float


def read_metrics(text: str) -> Scraped:
    """Read metrics in Prometheus's text format."""
    requests: Counts = Counter()
    seconds: dict[str, float] = {}
    dropped, resident, inflight = 0.0, 0.0, 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "ocella_requests_total" and sample.value:
                requests[labels["method"], labels["code"]] += int(sample.value)
            elif sample.name == "ocella_request_duration_seconds_sum":
                seconds[labels["method"]] = seconds.get(labels["method"], 0.0) + sample.value
            elif sample.name == "ocella_stream_frames_total" and labels["outcome"] == "dropped":
                dropped += sample.value
            elif sample.name == "process_resident_memory_bytes":
                resident = sample.value
            elif sample.name in ("ocella_inflight_requests", "ocella_streams_active"):
                inflight += sample.value
    return Scraped(requests, seconds, int(dropped), resident, inflight)


async def scrape(http: httpx.AsyncClient) -> Scraped:
    """Ask for the metrics."""
    return read_metrics((await http.get("/metrics")).text)


async def scrape_at_rest(http: httpx.AsyncClient, *, timeout_s: float) -> Scraped:
    """The counters once nothing is inside any more and two scrapes agree; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        before = await scrape(http)
        while True:
            now = await scrape(http)
            if now.inflight == 0 and now.requests == before.requests:
                return now
            before = now


async def watch_memory(stop: asyncio.Event, http: httpx.AsyncClient, *, pause_s: float) -> list[tuple[float, float]]:
    """Seconds from the start and resident bytes, a pause between two, until ``stop``."""
    start, seen = time.monotonic(), list[tuple[float, float]]()
    while not stop.is_set():
        scraped = await scrape(http)
        seen.append((time.monotonic() - start, scraped.resident_bytes))
        try:
            async with asyncio.timeout(pause_s):
                await stop.wait()
        except TimeoutError:
            continue
    return seen


def read_log(path: Path) -> list[Row]:
    """Every line; raises ValueError where one is no JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def requests_of(rows: Sequence[Row]) -> list[Row]:
    """The lines of requests and of streams."""
    return [row for row in rows if row["event"] in ("request", "stream")]


def frames_of(row: Row) -> Counter[str]:
    """Answers of a stream by code."""
    prefix = "frames_"
    counts = {name.removeprefix(prefix).upper(): count for name, count in row.items() if name.startswith(prefix)}
    counts.pop("DROPPED", None)
    return Counter(counts)


def counts_of(rows: Sequence[Row]) -> Counts:
    """What the metrics must say: each request, and each request inside of a stream."""
    counts: Counts = Counter()
    for row in requests_of(rows):
        if row["event"] == "request":
            counts[row["method"], row["code"]] += 1
        else:
            counts.update({(row["method"], code): count for code, count in frames_of(row).items()})
            if "reason" in row:  # refused as a whole, which counts as one request
                counts[row["method"], row["code"]] += 1
    return counts
