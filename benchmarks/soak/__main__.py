"""A mixed soak of a real server: ``python -m benchmarks.soak [--minutes 10] [--workers 6] [--keep-log FILE]``.

Clients of each API ask well and badly, leave, hurry and stream while one model is reloaded, well and broken. At the end
client, log and metrics must tell the same story, each error must explain itself, and memory must be flat.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx

from benchmarks.soak.evidence import Scraped, read_log, scrape_at_rest, watch_memory
from benchmarks.soak.judge import (
    Check,
    check_errors,
    check_log_against_client,
    check_memory,
    check_metrics_against_log,
    check_reloads,
)
from benchmarks.soak.models import make_repository
from benchmarks.soak.outcome import Outcome
from benchmarks.soak.reloads import reload_until
from benchmarks.soak.server import SoakServer, soak_server
from benchmarks.soak.traffic import PATIENCE_S, Clients, drive, fill, oip_stub
from serving.client import AsyncVisionClient
from tests.packages import photo, png

SIZES_WH = ((64, 80), (160, 120), (320, 240))
# So many reloads and looks at memory a soak, however long it is.
RELOADS, LOOKS = 60, 120


@dataclass(frozen=True)
class Soaked:
    """What the clients and the metrics said; the log is read once the server has ended."""

    outcomes: Sequence[Outcome]
    memory: Sequence[tuple[float, float]]
    scraped: Scraped


async def soak(server: SoakServer, root: Path, *, seconds: float, workers: int) -> Soaked:
    """Fill the models' batches, then drive all traffic for so many seconds."""
    stop = asyncio.Event()
    images = [png(photo(name, size_wh=size)) for name in ("astronaut", "coffee") for size in SIZES_WH]
    limits = httpx.Limits(max_connections=workers + 2)
    async with (
        AsyncVisionClient(server.grpc, timeout_s=PATIENCE_S, retry=None) as vision,
        grpc.aio.insecure_channel(server.grpc) as channel,
        httpx.AsyncClient(base_url=f"http://{server.http}", trust_env=False, timeout=PATIENCE_S, limits=limits) as http,
    ):
        oip = oip_stub(channel)
        clients = Clients(vision, oip, http, images, random.Random(0))
        filled = await fill(clients)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(drive(clients, workers=workers, stop=stop))
            loaded = tasks.create_task(reload_until(stop, root, oip, pause_s=seconds / RELOADS))
            memory = tasks.create_task(watch_memory(stop, http, pause_s=seconds / LOOKS))
            await asyncio.sleep(seconds)
            stop.set()
        scraped = await scrape_at_rest(http, timeout_s=PATIENCE_S)
    return Soaked([*filled, *asked.result(), *loaded.result()], memory.result(), scraped)


def judge(soaked: Soaked, log: Path) -> list[Check]:
    """Every check."""
    rows = read_log(log)
    return [
        check_errors(soaked.outcomes, rows),
        check_log_against_client(soaked.outcomes, rows),
        check_metrics_against_log(rows, soaked.scraped),
        check_memory(soaked.memory),
        check_reloads(soaked.outcomes),
    ]


def table(soaked: Soaked, checks: Sequence[Check]) -> str:
    """What was asked, and what holds."""
    asked = Counter((each.method, each.code) for each in soaked.outcomes)
    lines = [f"{method:<20} {code:<20} {count:>9,}" for (method, code), count in sorted(asked.items())]
    lines += ["", *(f"{'MISS' if each.misses else 'ok':<5} {each.name:<20} {each.figure}" for each in checks)]
    return "\n".join([*lines, *(f"      {each.name}: {miss}" for each in checks for miss in each.misses)])


def main() -> int:
    """Read the command line, soak, and say what holds; 1 where something does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=6, help="requests in flight")
    parser.add_argument("--keep-log", type=Path, help="copy the server's log here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, log = make_repository(Path(folder) / "models"), Path(folder) / "server.log"
        with soak_server(root, log) as server:
            soaked = asyncio.run(soak(server, root, seconds=60 * given.minutes, workers=given.workers))
        if given.keep_log:
            shutil.copy(log, given.keep_log)
        checks = judge(soaked, log)
    print(table(soaked, checks))
    return int(any(each.misses for each in checks))


if __name__ == "__main__":
    sys.exit(main())
