"""A server on a CUDA device beside its floor: ``python -m benchmarks.gpu [--quick] [--only PART]... [--out FILE]``.

``copies``: runs fed from ordinary and from page-locked memory. ``choices``: what TF32, half precision, channels last
and cuDNN's searches are worth, and what the first run of a shape costs. ``server``: images and tensors a second over
gRPC at 1 to 128 concurrent, beside the same work in one process without a server. Where there is no CUDA device it says
so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from benchmarks.engine.crowd import closed_loop
from benchmarks.engine.packages import RESNET, exported, photos
from pipelines.loader import load_package
from pipelines.manifest import GRAPH_FILE, read_manifest
from pipelines.session import CPU, CUDA, OnnxSession, SessionOptions
from pipelines.shaped_session import ShapedSession, open_session
from serving.bench.floor import ROWS_ON_DEVICE, image_work, measure_floor, tensor_work
from serving.bench.machine import machine
from serving.bench.report import table_text
from serving.bench.server_process import own_server
from serving.bench.subject import first_row, messages_of
from serving.cpu import usable_cores
from serving.doctor.gpu import read_gpus
from serving.malloc import keep_large_blocks

RESULTS = Path(__file__).parent / "results"
HALF = f"{RESNET}-half"
BATCHES = (1, 8, 32)
LOADS = (1, 8, 32, 128)
GENERATORS = 3
DEPLOY = f'[runtime]\nproviders = ["{CUDA}", "{CPU}"]\n[batching]\nmax_queue = 1024\n'
CHOICES: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "tf32": {"use_tf32": "1"},
    "tf32, channels last": {"use_tf32": "1", "prefer_nhwc": "1"},
    "channels last": {"prefer_nhwc": "1"},
    "EXHAUSTIVE": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "DEFAULT": {"cudnn_conv_algo_search": "DEFAULT"},
}


def half(root: Path) -> Path:
    """ResNet-18 in half precision inside."""
    words = ["export", RESNET, "--precision", "fp16", "--name", HALF, "--max-batch", "2", "--out", str(root / HALF)]
    subprocess.run([sys.executable, "-m", "ocella", *words], check=True, stdout=sys.stderr)
    return root / HALF


def options(choice: Mapping[str, str]) -> SessionOptions:
    """A session on CUDA with these options of its provider."""
    return SessionOptions(providers=(CUDA, CPU), provider_options={CUDA: choice})


def batch_of(package: Path, rows: int) -> tuple[str, Any]:
    """The name of the graph's input, and so many rows of noise for it."""
    with load_package(package, replay_golden=False) as loaded:
        row = first_row(loaded.pipeline, photos())
        return loaded.session.inputs[0].name, np.repeat(row[np.newaxis], rows, axis=0)


def together(run: Callable[[], object], *, threads: int, load_s: float) -> float:
    """Calls by second of so many threads."""
    run()
    done: list[int] = []
    end = time.monotonic() + load_s

    def work() -> None:
        count = 0
        while time.monotonic() < end:
            run()
            count += 1
        done.append(count)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / load_s


def copies(load_s: float) -> list[dict[str, Any]]:
    """Batches put together and run: by a plain session in ordinary memory, by a shaped one in page-locked memory."""
    package, found = exported(RESNET), []
    for rows in (8, 32):
        name, batch = batch_of(package, rows)
        parts = list(batch[:, np.newaxis])
        with (
            OnnxSession(package / GRAPH_FILE, options({})) as plain,
            open_session(package / GRAPH_FILE, options({})) as kept,
        ):
            assert isinstance(kept, ShapedSession)
            ordinary = partial(_ordinary, plain, name, parts)
            locked = partial(_locked, kept, name, parts)
            for threads in (1, 2, 4):
                rates = [rows * together(run, threads=threads, load_s=load_s) for run in (ordinary, locked)]
                found.append({"rows": rows, "threads": threads, "ordinary": rates[0], "page-locked": rates[1]})
    return found


def _ordinary(session: OnnxSession, name: str, parts: list[Any]) -> None:
    session.run({name: np.concatenate(parts)})


def _locked(session: ShapedSession, name: str, parts: list[Any]) -> None:
    session.run({name: session.join(name, parts)})


def choices(load_s: float) -> list[dict[str, Any]]:
    """Rows by second for each choice, and milliseconds of the first run of a shape."""
    found = []
    with tempfile.TemporaryDirectory() as root:
        packages = {RESNET: exported(RESNET), HALF: half(Path(root))}
        tried = [(RESNET, name, choice) for name, choice in CHOICES.items()]
        tried += [(HALF, "as it is", {}), (HALF, "channels last", {"prefer_nhwc": "1"})]
        for model, name, choice in tried:
            row: dict[str, Any] = {"model": model, "choice": name}
            with OnnxSession(packages[model] / GRAPH_FILE, options(choice)) as session:
                for rows in BATCHES:
                    given, batch = batch_of(packages[model], rows)
                    start = time.monotonic()
                    session.run({given: batch})
                    row[f"first run of {rows}, ms"] = (time.monotonic() - start) * 1000
                    rate = together(lambda: session.run({given: batch}), threads=2, load_s=load_s)  # noqa: B023
                    row[f"rows/s at {rows}"] = rate * rows
            found.append(row)
    return found


def server(load_s: float) -> list[dict[str, Any]]:
    """Each load beside the floor of the same minute."""
    keep_large_blocks()
    cv2.setNumThreads(1)
    package, images, found = exported(RESNET), photos(), []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(GENERATORS, get_context("spawn")) as pool:
        model = Path(folder) / read_manifest(package).name
        shutil.copytree(package, model / "1")
        for name, more in (("float32", ""), ("TF32", "[runtime.cuda]\ntf32 = true\n")):
            (model / "deploy.toml").write_text(DEPLOY + more)
            try:
                found += served(model, name, options({"use_tf32": "1"} if more else {}), images, pool, load_s)
            except Exception as error:  # noqa: BLE001, golden samples may refuse TF32
                found.append({"choice": name, "refused": str(error)})
    return found


def served(
    model: Path, name: str, given: SessionOptions, images: tuple[bytes, ...], pool: ProcessPoolExecutor, load_s: float
) -> list[dict[str, Any]]:
    """A model's server under each load, with images and with tensors."""
    found = []
    with load_package(model / "1", options=given) as loaded, own_server(model.parent) as running:
        for kind in ("JPEG", "tensor"):
            tensor = kind == "tensor"
            messages = messages_of(loaded, images, tensor=tensor)
            row = first_row(loaded.pipeline, images)
            work = tensor_work(loaded.session, row) if tensor else image_work(loaded, images)
            floor = measure_floor(work, threads=usable_cores(), duration_s=load_s, rows=ROWS_ON_DEVICE)
            for concurrency in LOADS:
                load = closed_loop(
                    pool,
                    running.grpc,
                    running.http,
                    messages,
                    concurrency=concurrency,
                    processes=GENERATORS,
                    load_s=load_s,
                )
                against = {"floor": floor.rate, "floor_p50_s": floor.p50_s, "rate / floor": load.rate / floor.rate}
                found.append({"choice": name, "kind": kind, **asdict(load), **against})
    return found


PARTS: Mapping[str, Callable[[float], list[dict[str, Any]]]] = {
    "copies": copies,
    "choices": choices,
    "server": server,
}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as lines under the names of all their columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [
        tuple(f"{value:.4g}" if isinstance(value := row.get(name, "-"), float) else str(value) for name in names)
        for row in rows
    ]
    return table_text([tuple(names), *cells])


def main() -> None:
    """Read the command line, measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter loads, each once")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--out", type=Path, help="JSON document; default, where all ran: results/gpu.json")
    given = parser.parse_args()
    gpus = read_gpus()
    if not gpus.devices:
        print("no CUDA device here: nothing was measured")
        return
    load_s, rounds = (1.0, 1) if given.quick else (3.0, 3)
    found: dict[str, Any] = {}
    for name in given.only or PARTS:
        found[name] = medians([PARTS[name](load_s) for _ in range(rounds)])
        print(f"\n{name}\n{table(found[name])}", flush=True)
    out = given.out or (None if given.only else RESULTS / "gpu.json")
    if out is not None:
        gpu = {"gpu": gpus.devices[0].name, "driver": gpus.driver}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps({"machine": {**machine(), **gpu}, "load_s": load_s, "rounds": rounds, **found}, indent=1) + "\n"
        )


def medians(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Row by row the median of each number."""
    return [
        {
            name: median(row.get(name, value) for row in alike) if isinstance(value, float) else value
            for name, value in alike[0].items()
        }
        for alike in zip(*rounds, strict=True)
    ]


if __name__ == "__main__":
    main()
