"""CPU time of a tiny request on Ray, by process: ``python -m benchmarks.ray_front [--requests N]``; needs ocella[ray].

The plain server is asked the same beside it. CPU time, not the clock: on two cores the load, the proxy, the router and
the replica take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.bench.server_process import own_server
from serving.client import VisionClient
from serving.ray.cluster import deploy, joined
from serving.ray.names import ROUTER, app_of
from serving.ray.plan import plan_models
from serving.settings import Settings

MODEL = "digits"
FOLDER = Path(__file__).parent.parent / "models" / MODEL
CONCURRENCY = 8
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum((int(each[11]) + int(each[12])) * _TICK_S for each in fields)


def titles() -> dict[int, str]:
    """Every process with its title; Ray gives each actor its own."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_text()
        except OSError:
            continue
    return found


def ask(server: str, image: bytes, requests: int) -> None:
    """Send so many requests, a few at a time."""
    with VisionClient(server, timeout_s=60) as client, ThreadPoolExecutor(CONCURRENCY) as threads:
        for answer in threads.map(lambda _: client.predict(MODEL, image), range(requests)):
            assert answer.model == MODEL


def on_ray(image: bytes, requests: int) -> dict[str, float]:
    """Milliseconds of each process of a cluster of our own."""
    settings = Settings(models=(FOLDER,), port=0, http_port=0, ray_routers=1)
    models, others = plan_models(settings), titles().keys()
    with joined(settings, models) as used:
        asyncio.run(deploy(used, models))
        ours = {pid: title for pid, title in titles().items() if pid not in others}
        wanted = {
            "Ray's proxy": "ray::ProxyActor",
            "our router": f"ray::ServeReplica:{ROUTER}:",
            "the replica": f"ray::ServeReplica:{app_of(MODEL)}:",
        }
        groups = {
            name: [pid for pid, title in ours.items() if title.startswith(start)] for name, start in wanted.items()
        }
        return measured(f"{used.host}:{used.port}", image, groups, requests)


def plain(image: bytes, requests: int) -> dict[str, float]:
    """Milliseconds of a server of one process."""
    with own_server(FOLDER) as server:
        return measured(server.grpc, image, {"the plain server": [server.pid]}, requests)


def measured(server: str, image: bytes, groups: dict[str, list[int]], requests: int) -> dict[str, float]:
    """Milliseconds of CPU of each group by request, after a while to warm up."""
    ask(server, image, requests // 4)
    before = {name: cpu_s(pids) for name, pids in groups.items()}
    ask(server, image, requests)
    return {name: (cpu_s(pids) - before[name]) / requests * 1000 for name, pids in groups.items()}


def main() -> None:
    """Print a line for each process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    requests = parser.parse_args().requests
    image = next(FOLDER.glob("*/golden/*.png")).read_bytes()
    for name, ms in {**plain(image, requests), **on_ray(image, requests)}.items():
        print(f"{name}: {ms:.2f} ms of CPU a request", flush=True)


if __name__ == "__main__":
    main()
