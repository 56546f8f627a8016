"""The floor: the same work in this process without a server, as fast as its cores allow."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.image import ImageLimits
from pipelines.loader import Loaded, LoadedCascade, LoadedModel
from pipelines.options import PredictOptions
from pipelines.session import Session, split_rows
from pipelines.tasks import predict
from pipelines.types import AnyArray

# Rows of a run that are tried: alone, and as many as a server of ours gathers at most by itself.
ROWS, ROWS_ON_DEVICE = (1, 8), (1, 8, 32)
OPTIONS = PredictOptions()
_WARM = 4


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What bare threads reach.

    Attributes:
        rate: images (or rows) by second of all threads together.
        cpu_s: processor time of one image.
        p50_s: median seconds of one image where one thread works alone, row by row.
        rows: of a run, those that gave the best rate.
        threads: that worked at once.
    """

    rate: float
    cpu_s: float
    p50_s: float
    rows: int
    threads: int


Work = Callable[[int], None]


def image_work(loaded: Loaded, images: Sequence[bytes]) -> Work:
    """Decode, preprocess, run and postprocess so many of ``images``, in turns."""
    turns = itertools.cycle(images)
    if isinstance(loaded, LoadedCascade):
        return lambda rows: _cascade(loaded, [next(turns) for _ in range(rows)])
    return lambda rows: _images(loaded, [next(turns) for _ in range(rows)])


def _cascade(cascade: LoadedCascade, images: Sequence[bytes]) -> None:
    pixels = [cascade.pipeline.decode(image, ImageLimits()) for image in images]
    predict(cascade.pipeline, cascade.session, pixels, OPTIONS)


def _images(model: LoadedModel, images: Sequence[bytes]) -> None:
    """Rows of one shape run together."""
    pipeline, session = model.pipeline, model.session
    fitted = [pipeline.preprocess(pipeline.decode(image, ImageLimits())) for image in images]
    for shape in {row.shape for row, _ in fitted}:
        alike = [one for one in fitted if one[0].shape == shape]
        outputs = session.run({session.inputs[0].name: np.stack([row for row, _ in alike])})
        for answer, (_, affine) in zip(split_rows(outputs, expected_rows=len(alike)), alike, strict=True):
            pipeline.postprocess(answer, affine, OPTIONS)


def tensor_work(session: Session, row: AnyArray) -> Work:
    """Run so many copies of ``row``, which is without batch axis."""
    batches = {rows: np.stack([row] * rows) for rows in {*ROWS, *ROWS_ON_DEVICE}}
    name = session.inputs[0].name

    def work(rows: int) -> None:
        session.run({name: batches[rows]})

    return work


def measure_floor(work: Work, *, threads: int, duration_s: float, rows: Sequence[int] = ROWS) -> Floor:
    """Measure ``work`` alone, then by ``threads`` at once for each of ``rows``; the best rate counts."""
    for _ in range(_WARM):
        work(1)
    alone_s = _repeat(work, 1, duration_s / 2)
    best: Floor | None = None
    for one in rows:
        rate, cpu_s = _together(work, one, threads=threads, duration_s=duration_s)
        if best is None or rate > best.rate:
            best = Floor(rate=rate, cpu_s=cpu_s, p50_s=float(np.median(alone_s)), rows=one, threads=threads)
    assert best is not None
    return best


def _repeat(work: Work, rows: int, duration_s: float) -> list[float]:
    """Seconds of each call, one after the other, until ``duration_s`` is over; at least one."""
    spent: list[float] = []
    end = time.monotonic() + duration_s
    while not spent or time.monotonic() < end:
        start = time.monotonic()
        work(rows)
        spent.append(time.monotonic() - start)
    return spent


def _together(work: Work, rows: int, *, threads: int, duration_s: float) -> tuple[float, float]:
    """Rows by second, and processor time of a row."""
    done: list[int] = []

    def repeat() -> None:
        done.append(len(_repeat(work, rows, duration_s)) * rows)

    workers = [threading.Thread(target=repeat, name=f"floor-{i}") for i in range(threads)]
    start, cpu = time.monotonic(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if len(done) != threads:  # the thread's own error is on stderr
        raise RuntimeError(f"{threads - len(done)} of {threads} threads of the floor failed")
    count = sum(done)
    return count / (time.monotonic() - start), (time.process_time() - cpu) / count
