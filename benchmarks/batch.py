"""How fast `ocella batch` is against its floor: the same images decoded, run and finished by bare threads.

Run: ``python -m benchmarks.batch [PACKAGE] [--images N] [--rounds N]``. The floor has no journal, order, outputs or
hashes: as many threads as cores, each decodes, preprocesses, runs one row and postprocesses, image after image. The job
is a whole one: its clock begins with its first entry and ends once its journal is closed and its outputs, summary and
contact sheet lie in place.

A machine that others use, or that changes its clock, is faster by a third from one second to the next. So both sides
are processes that take turns of ``TURN_S``: one is stopped where it is while the other works, and only its own turns
count. Each turn of the job stands between two of the floor, and what disturbs one disturbs the other as much. What
counts is the median of the rounds' ratios, and 0.95 is the aim. Where others use the machine, look at the ratio by CPU:
by the clock the side with more threads gets more of it.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Self

import cv2

from pipelines.errors import PackageError
from pipelines.image import ImageLimits, decode_image
from pipelines.loader import find_package, load_model
from pipelines.options import PredictOptions
from pipelines.session import run_one
from serving.batch.job import Job
from serving.batch.local import local_engine
from serving.batch.progress import shown
from serving.batch.run import Request, run_job
from serving.batch.sources import Sources
from serving.batch.tally import Tally
from serving.batch.total import Total
from serving.cpu import usable_cores
from serving.malloc import keep_large_blocks

ROUNDS = 5
IMAGES = 500
TURN_S = 0.4
OPTIONS = PredictOptions()
PHOTOS = Path(__file__).parent.parent / "examples" / "images"
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Rate:
    """Images by second of the side's own turns, and seconds of CPU by image."""

    images_per_s: float
    cpu_s: float


@dataclass(frozen=True)
class Round:
    """A whole job, and the floor in the turns between its own."""

    floor: Rate
    job: Rate

    @property
    def by_clock(self) -> float:
        """Speed of the job to that of the floor."""
        return self.job.images_per_s / self.floor.images_per_s

    @property
    def by_cpu(self) -> float:
        """The same by the CPU that an image takes."""
        return self.floor.cpu_s / self.job.cpu_s

    def line(self) -> str:
        """All of it in one line."""
        return (
            f"floor {self.floor.images_per_s:8.1f} images/s {self.floor.cpu_s * 1000:8.2f} ms CPU   "
            f"job {self.job.images_per_s:8.1f} images/s {self.job.cpu_s * 1000:8.2f} ms CPU   "
            f"ratio {self.by_clock:.3f}, by CPU {self.by_cpu:.3f}"
        )


def make_images(folder: Path, count: int) -> list[Path]:
    """Distinct JPEG files of 640 x 480 from the sample photos."""
    photos = [decode_image(path.read_bytes(), exif="apply", alpha="white") for path in sorted(PHOTOS.iterdir())]
    paths = []
    for i in range(count):
        photo = cv2.resize(photos[i % len(photos)], (640, 480))
        for bit in range(24):  # the number in black and white, for equal images are computed once
            photo[:8, 8 * bit : 8 * bit + 8] = 255 * (i >> bit & 1)
        paths.append(folder / f"{i:06}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


class Side:
    """A context manager around the process of one side, which works in its turns alone."""

    def __init__(self, work: object, *arguments: object) -> None:
        """Start it and wait until it has loaded the model."""
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=work, args=(theirs, *arguments), daemon=True)  # type: ignore[arg-type]
        self._process.start()
        theirs.close()
        self._pipe.recv()
        self._pid = self._process.pid or 0
        os.kill(self._pid, signal.SIGSTOP)
        self._pipe.send("begin")
        self._cpu_s, self.seconds = cpu_s_of(self._pid), 0.0

    def turn(self) -> int | None:
        """Let it work for ``TURN_S``, or until it tells how many images it has done, which is returned."""
        start = time.monotonic()
        os.kill(self._pid, signal.SIGCONT)
        over = self._pipe.poll(TURN_S)
        if not over:
            os.kill(self._pid, signal.SIGSTOP)
        self.seconds += time.monotonic() - start
        return int(self._pipe.recv()) if over else None

    def rate(self, images: int) -> Rate:
        """Of its turns so far."""
        return Rate(images / self.seconds, (cpu_s_of(self._pid) - self._cpu_s) / images)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def cpu_s_of(pid: int) -> float:
    """Seconds of CPU that a process has taken, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_floor(pipe: Connection, done: Sequence[int], package: Path, paths: Sequence[Path]) -> None:
    """Image after image by bare threads, over and over; ``done``: how many, shared with who asks."""
    prepare_process()
    left, lock = cycle(paths), threading.Lock()
    with load_model(package) as loaded:
        pipeline, session = loaded.pipeline, loaded.session

        def work() -> None:
            while True:
                with lock:
                    path = next(left)
                row, affine = pipeline.preprocess(pipeline.decode(path.read_bytes(), ImageLimits()))
                pipeline.postprocess(run_one(session, row), affine, OPTIONS)
                with lock:
                    done[0] += 1  # type: ignore[index]

        pipe.send("ready")
        pipe.recv()
        threads = [threading.Thread(target=work) for _ in range(usable_cores())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def run_whole_job(pipe: Connection, package: Path, folder: Path, out: Path) -> None:
    """One job with its progress shown as to a pipe."""
    prepare_process()
    request = Request(sources=Sources((bytes(folder),)), out=out, formats=("jsonl",))

    @contextmanager
    def watch(tally: Tally, total: Total) -> Iterator[None]:
        pipe.send("ready")  # the model is loaded, no image was read
        pipe.recv()
        with shown(tally, total, io.StringIO()):
            yield

    summary = run_job(request, local_engine(package, OPTIONS), watch, begin=Job)
    assert summary.complete, summary.problem
    assert summary.computed == summary.tally.rows, "each image is one of its own"
    pipe.send(summary.tally.rows)
    pipe.recv()


def prepare_process() -> None:
    """As the commands do."""
    keep_large_blocks()
    cv2.setNumThreads(1)


def rounds(package: Path, *, images: int, count: int) -> Iterator[Round]:
    """Rounds over the same images."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder, done = place / "in", _PROCESSES.RawArray("q", 1)
        folder.mkdir()
        paths = make_images(folder, images)
        for _ in range(count):
            with (
                Side(run_floor, done, package, paths) as floor,
                Side(run_whole_job, package, folder, place / "out") as job,
            ):
                before = done[0]
                floor.turn()
                while (rows := job.turn()) is None:
                    floor.turn()
                found = job.rate(rows)
                floor.turn()
                yield Round(floor.rate(done[0] - before), found)
            shutil.rmtree(place / "out")


def median_ratios(found: Sequence[Round]) -> tuple[float, float]:
    """The speed of a job to its floor, by the clock and by CPU: the medians of the rounds' own ratios."""
    return median(one.by_clock for one in found), median(one.by_cpu for one in found)


def main() -> None:
    """Print each round as it ends, and the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("~/.cache/ocella/models/centerface").expanduser()
    parser.add_argument("package", nargs="?", type=Path, default=default)
    parser.add_argument("--images", type=int, default=IMAGES, help="of one job")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    try:
        find_package(arguments.package)
    except PackageError as error:
        parser.error(str(error))
    if min(arguments.rounds, arguments.images) < 1:
        parser.error("--rounds and --images must be 1 or more")
    found = []
    for one in rounds(arguments.package, images=arguments.images, count=arguments.rounds):
        found.append(one)
        print(one.line(), flush=True)
    by_clock, by_cpu = median_ratios(found)
    print(f"median of {len(found)} rounds: ratio {by_clock:.3f}, by CPU {by_cpu:.3f}")


if __name__ == "__main__":
    main()
