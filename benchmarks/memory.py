"""Resident memory over requests of many shapes: ``python -m benchmarks.memory [--requests 10000] [--shapes 500]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from pipelines.image import ImageLimits
from pipelines.loader import load_model
from pipelines.specs import StretchToMultiple
from serving.catalog import Catalog
from serving.dataplane import DataPlane, InferCall
from serving.deploy import Deploy, Runtime
from serving.malloc import keep_large_blocks
from serving.memory import resident_bytes
from serving.metrics import Metrics
from serving.served import ServedModel
from serving.threads import Threads
from tests.builders import detection_head, image_spec
from tests.graphs import heatmap_graph
from tests.packages import make_package

MIB = 1024 * 1024
CONCURRENT = 16


def shapes_hw(count: int) -> list[tuple[int, int]]:
    """So many sizes, multiples of 32 from 32 to about 32 * sqrt(count), in a fixed random order."""
    side = int(np.ceil(np.sqrt(count)))
    sizes = [(32 * (i // side + 1), 32 * (i % side + 1)) for i in range(count)]
    return [sizes[i] for i in np.random.default_rng(0).permutation(count)]


async def residents(folder: Path, *, requests: int, shapes: int, runtime: Runtime) -> AsyncIterator[int]:
    """Resident bytes after each tenth of the requests; the first tenth warms up."""
    catalog, pixels = Catalog(), Threads(2, name="pixels")
    meter = Metrics().model("things", 1)
    with load_model(folder) as loaded, ServedModel(loaded, Deploy(runtime=runtime), meter, cores=2) as served:
        catalog.put_ready(served)
        plane = DataPlane(catalog, pixels, ImageLimits())
        sizes = shapes_hw(shapes)
        name = loaded.session.inputs[0].name

        async def worker(first: int, last: int) -> None:
            for i in range(first, last, CONCURRENT):
                height, width = sizes[i % len(sizes)]
                await plane.infer(
                    InferCall(model="things", tensors={name: np.zeros((1, 3, height, width), np.float32)})
                )

        for tenth in range(10):
            start, stop = tenth * requests // 10, (tenth + 1) * requests // 10
            await asyncio.gather(*(worker(start + i, stop) for i in range(CONCURRENT)))
            yield resident_bytes()
    pixels.close()


def growth(*, requests: int, shapes: int) -> float:
    """Growth from the first tenth of the requests to the last, as a part; measured in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.memory",
        "--requests",
        str(requests),
        "--shapes",
        str(shapes),
        "--json",
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    first, *_, last = json.loads(done.stdout)
    return float(last / first - 1)


async def report(folder: Path, *, requests: int, shapes: int, runtime: Runtime, as_json: bool) -> None:
    """Print what was measured: as it comes, or at the end as one list."""
    seen: list[int] = []
    async for resident in residents(folder, requests=requests, shapes=shapes, runtime=runtime):
        seen.append(resident)
        if not as_json:
            part = 100 * (resident / seen[0] - 1)
            print(f"{len(seen) * requests // 10:>7,} requests: {resident / MIB:7.1f} MiB, {part:+5.1f} %", flush=True)
    if as_json:
        print(json.dumps(seen))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--shapes", type=int, default=500)
    parser.add_argument("--shrink-arena", action="store_true")
    parser.add_argument("--json", action="store_true", help="print bytes after each tenth as one list")
    given = parser.parse_args()
    keep_large_blocks()
    fit = StretchToMultiple(
        kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=None, max_longer=None
    )
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "things" / "1"
        make_package(folder, graph=heatmap_graph(), head=detection_head(), image=image_spec(fit=fit), name="things")
        runtime = Runtime(shrink_arena=given.shrink_arena)
        asyncio.run(report(folder, requests=given.requests, shapes=given.shapes, runtime=runtime, as_json=given.json))


if __name__ == "__main__":
    main()
