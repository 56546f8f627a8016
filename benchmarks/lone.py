"""Where the time of a lone request goes: ``python -m benchmarks.lone [--model NAME]... [--rounds 9] [--seconds 1]``.

One image at a time, in turns of a second: a server's own stages as its answers tell them, and the same stages in this
process, image after image. Beside them the same requests to a bare ``grpc.aio`` server that reads nothing and answers
at once: one right after the other, and with a pause before each as long as an image takes. What the pause adds, the
machine takes to wake up threads that slept; what is beyond the bare server after such a pause is our handlers' time.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import grpc

from benchmarks.engine.bare import METHOD, bare_server
from benchmarks.engine.packages import MOBILENET, RESNET, exported, photos
from pipelines.image import ImageLimits
from pipelines.loader import LoadedModel, load_package
from pipelines.options import PredictOptions
from protos.ocella.v1 import vision_pb2 as pb
from serving.bench.messages import PREDICT, image_messages
from serving.bench.report import table_text
from serving.bench.server_process import own_server
from serving.client.channel import CHANNEL_OPTIONS
from serving.malloc import keep_large_blocks
from serving.pixels import Finisher, prepare
from serving.rows import first_rows

STAGES = ("decode", "preprocess", "inference", "postprocess")
LINES = (*STAGES, "waiting inside", "transport and handlers", "whole")
_WARM = 10
_NOTHING_S = 5e-6


@dataclass(frozen=True)
class Spent:
    """Seconds of one image: its stages in the order of ``STAGES``, waiting inside of the server, and all of it."""

    stages: tuple[float, ...]
    waiting_s: float
    whole_s: float

    @property
    def rest_s(self) -> float:
        """What no stage accounts for."""
        return self.whole_s - self.waiting_s - sum(self.stages)


Once = Callable[[bytes], Spent]


def in_process(model: LoadedModel) -> Once:
    """The work of one image in the caller's own thread."""
    session = model.session
    finisher = Finisher(model.manifest.name, 1, model.pipeline, PredictOptions(), 0.0)

    def once(image: bytes) -> Spent:
        start = time.monotonic()
        prepared = prepare(model.pipeline, image, ImageLimits())
        began = time.monotonic()
        outputs = first_rows(session.run({session.inputs[0].name: prepared.row[None]}))
        inference_s = time.monotonic() - began
        finished = finisher.finish(prepared, outputs, inference_s, lambda answer: answer)
        stages = (prepared.decode_s, prepared.preprocess_s, inference_s, finished.timings.postprocess_s)
        return Spent(stages, 0.0, time.monotonic() - start)

    return once


def by_server(call: Callable[[bytes], bytes]) -> Once:
    """A request with an image; ``call`` sends its bytes."""

    def once(body: bytes) -> Spent:
        start = time.monotonic()
        answer = call(body)
        whole_s = time.monotonic() - start
        took = pb.PredictResponse.FromString(answer).timings
        stages = (took.decode_s, took.preprocess_s, took.inference_s, took.postprocess_s)
        return Spent(stages, took.queue_s, whole_s)

    return once


def bare(call: Callable[[bytes], bytes]) -> Once:
    """A request that nobody reads."""

    def once(body: bytes) -> Spent:
        start = time.monotonic()
        call(body)
        return Spent((0.0,) * len(STAGES), 0.0, time.monotonic() - start)

    return once


@dataclass(frozen=True)
class Way:
    """How an image, or a request, is put through: what with, and after which pause."""

    once: Once
    inputs: Sequence[bytes]
    pause_s: float = 0.0

    def repeat(self, seconds: float) -> list[Spent]:
        """One after the other for so long, and at least one; the first ones are not counted."""
        spent: list[Spent] = []
        end = time.monotonic() + seconds
        while len(spent) <= _WARM or time.monotonic() < end:
            if self.pause_s:
                time.sleep(self.pause_s)
            spent.append(self.once(self.inputs[len(spent) % len(self.inputs)]))
        return spent[_WARM:]


def lone(package: Path, images: Sequence[bytes], *, rounds: int, seconds: float) -> list[tuple[str, ...]]:
    """The table of one model: medians in milliseconds."""
    with ExitStack() as stack:
        loaded = stack.enter_context(load_package(package))
        assert isinstance(loaded, LoadedModel)
        bodies = _requests(loaded.manifest.name, images)
        ours = _channel(stack, stack.enter_context(own_server(package)).grpc)
        nobody = _channel(stack, stack.enter_context(bare_server()).address)
        here = Way(in_process(loaded), images)
        image_s = median(one.whole_s for one in here.repeat(seconds))
        asked = bare(nobody.unary_unary(METHOD))
        ways = {
            "in process": here,
            "server": Way(by_server(ours.unary_unary(PREDICT)), bodies),
            "bare": Way(asked, bodies),
            "bare, after a pause": Way(asked, bodies, image_s),
        }
        spent: dict[str, list[Spent]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                spent[name] += way.repeat(seconds)
    columns = [_column(each) for each in spent.values()]
    return [("ms, median", *spent), *zip(LINES, *columns, strict=True)]


def _column(spent: Sequence[Spent]) -> list[str]:
    """Each line's median; nothing where there is no such part."""
    stages = [_ms(one.stages[i] for one in spent) for i in range(len(STAGES))]
    return [
        *stages,
        _ms(one.waiting_s for one in spent),
        _ms(one.rest_s for one in spent),
        _ms(one.whole_s for one in spent),
    ]


def _channel(stack: ExitStack, address: str) -> Any:
    return stack.enter_context(grpc.insecure_channel(address, options=CHANNEL_OPTIONS))


def _requests(model: str, images: Sequence[bytes]) -> list[bytes]:
    """Requests that ask for their timings."""
    bodies = []
    for body in image_messages(model, images).bodies:
        request = pb.PredictRequest.FromString(body)
        request.options.timings = True
        bodies.append(request.SerializeToString())
    return bodies


def _ms(seconds: Iterable[float]) -> str:
    value = median(seconds)
    return f"{value * 1000:.2f}" if value > _NOTHING_S else ""


def main() -> None:
    """Read the command line and print a table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"torchvision's name; default: {RESNET} and {MOBILENET}")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each way")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    given = parser.parse_args()
    if given.rounds < 1 or not 0 < given.seconds < math.inf:
        parser.error("--rounds must be 1 or more, and --seconds above 0")
    keep_large_blocks()
    cv2.setNumThreads(1)
    for name in given.model or (RESNET, MOBILENET):
        try:
            package = exported(name)
        except subprocess.CalledProcessError:  # the export has said why
            parser.error(f"--model {name} could not be exported")
        rows = lone(package, photos(), rounds=given.rounds, seconds=given.seconds)
        print(f"\n{name}\n{table_text(rows)}", flush=True)


if __name__ == "__main__":
    main()
