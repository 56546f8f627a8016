"""How fast `ocella batch` is against its floor: the same images decoded, run and finished by bare threads.

Run: ``python -m benchmarks.batch [PACKAGE] [--images N]``. The floor has no journal, order, outputs or hashes: as many
threads as cores, each decodes, preprocesses, runs one row and postprocesses, image after image. Both sides take turns;
what counts is the median of the rounds' ratios, each of a floor and the job right after it, and 0.95 is the aim. On a
machine that others use only the ratio by CPU says something.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2

from pipelines.image import ImageLimits
from pipelines.loader import load_model
from pipelines.options import PredictOptions
from pipelines.session import run_one
from serving.batch.job import Job
from serving.batch.local import local_engine
from serving.batch.run import Request, run_job
from serving.batch.sources import Sources
from serving.batch.tally import Tally
from serving.cpu import usable_cores
from serving.malloc import keep_large_blocks

ROUNDS = 3
OPTIONS = PredictOptions()
PHOTOS = Path(__file__).parent.parent / "examples" / "images"


@dataclass(frozen=True)
class Rate:
    """Images by second of the wall clock, and seconds of CPU by image."""

    images_per_s: float
    cpu_s: float


def make_images(folder: Path, count: int) -> list[Path]:
    """Distinct JPEG files of 640 x 480 from the sample photos."""
    photos = [cv2.resize(cv2.imread(str(path)), (640, 480)) for path in sorted(PHOTOS.iterdir())]
    paths = []
    for i in range(count):
        photo = photos[i % len(photos)].copy()
        photo[:8, :8] = (i % 256, i // 256 % 256, 128)
        paths.append(folder / f"{i:06}.jpg")
        cv2.imwrite(str(paths[-1]), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def floor_rate(package: Path, paths: Sequence[Path]) -> Rate:
    """Images a second of bare threads."""
    with load_model(package) as loaded:
        pipeline, session = loaded.pipeline, loaded.session
        left, lock = iter(paths), threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    path = next(left, None)
                if path is None:
                    return
                row, affine = pipeline.preprocess(pipeline.decode(path.read_bytes(), ImageLimits()))
                pipeline.postprocess(run_one(session, row), affine, OPTIONS)

        threads = [threading.Thread(target=work) for _ in range(usable_cores())]
        start, cpu = time.monotonic(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Rate(len(paths) / (time.monotonic() - start), (time.process_time() - cpu) / len(paths))


def job_rate(package: Path, folder: Path, out: Path) -> Rate:
    """Images a second of a job, from its first entry to its last output."""
    request = Request(sources=Sources((bytes(folder),)), out=out, formats=("jsonl",))
    begun: list[float] = []

    @contextmanager
    def watch(_: Tally) -> Iterator[None]:
        begun.append(time.process_time())  # the model is loaded, no image was read
        yield

    summary = run_job(request, local_engine(package, OPTIONS), watch, begin=Job)
    shutil.rmtree(out)
    assert summary.complete, summary.problem
    return Rate(summary.images_per_s, (time.process_time() - begun[0]) / summary.tally.rows)


def rounds(package: Path, count: int) -> Iterator[tuple[Rate, Rate]]:
    """Floor and job, in turn."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        folder.mkdir()
        paths = make_images(folder, count)
        for _ in range(ROUNDS):
            yield floor_rate(package, paths), job_rate(package, folder, Path(place) / "out")


def main() -> None:
    """Print both rates and their ratio, round by round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("~/.cache/ocella/models/centerface").expanduser()
    parser.add_argument("package", nargs="?", type=Path, default=default)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    keep_large_blocks()
    cv2.setNumThreads(1)
    found = list(rounds(arguments.package, arguments.images))
    for floor, job in found:
        print(_line(floor, job))
    by_clock, by_cpu = median_ratios(found)
    print(f"median of {len(found)} rounds: ratio {by_clock:.3f}, by CPU {by_cpu:.3f}")


def median_ratios(found: Sequence[tuple[Rate, Rate]]) -> tuple[float, float]:
    """The speed of a job to its floor, by the clock and by CPU: the medians of the rounds' own ratios."""
    ratios = [_ratios(floor, job) for floor, job in found]
    return median(clock for clock, _ in ratios), median(cpu for _, cpu in ratios)


def _ratios(floor: Rate, job: Rate) -> tuple[float, float]:
    return job.images_per_s / floor.images_per_s, floor.cpu_s / job.cpu_s


def _line(floor: Rate, job: Rate) -> str:
    by_clock, by_cpu = _ratios(floor, job)
    return (
        f"floor {floor.images_per_s:8.1f} images/s {floor.cpu_s * 1000:8.2f} ms CPU   "
        f"job {job.images_per_s:8.1f} images/s {job.cpu_s * 1000:8.2f} ms CPU   "
        f"ratio {by_clock:.3f}, by CPU {by_cpu:.3f}"
    )


if __name__ == "__main__":
    main()
