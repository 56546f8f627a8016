"""What a graph that takes pixels costs against one that takes normalised rows: preparing and running one image."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# The folder of a script is searched first, and there `export` is this very file.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from export.comparison import decoded_samples
from export.draft import INPUT
from export.graph import graph_bytes
from export.named.table import named_subject
from export.passes.bake_input import bake_input, baked_spec
from export.subject import Subject
from export.trace import TraceSpec, trace_with
from pipelines.preprocess import preprocess
from pipelines.session import OnnxSession
from pipelines.specs import ImageSpec

MODELS = ("resnet18", "mobilenet_v3_small")
REPEATS = 41


def main() -> None:
    """Print one line a model: median milliseconds of both ways and their ratio, taken in turn."""
    print(f"{'model':24} {'float32 rows':>14} {'uint8 pixels':>14} {'ratio':>7}")
    for name in MODELS:
        rows, pixels = measure(named_subject(name))
        print(f"{name:24} {rows * 1e3:11.2f} ms {pixels * 1e3:11.2f} ms {pixels / rows:7.2f}")


def measure(subject: Subject) -> tuple[float, float]:
    """Median seconds of one image, prepared and run: with normalised rows, and with pixels."""
    image = decoded_samples(subject)[0]
    height, width = subject.row_hw((image.shape[0], image.shape[1]))
    spec = TraceSpec(row_shape=(3, height, width), input_name=INPUT, output_names=subject.output_names)
    plain = trace_with("torchscript", subject.module, spec)
    baked = bake_input(plain, subject.image).model
    with tempfile.TemporaryDirectory() as folder:
        ways = [
            _way(Path(folder) / "rows.onnx", graph_bytes(plain), image, subject.image),
            _way(Path(folder) / "pixels.onnx", graph_bytes(baked), image, baked_spec(subject.image)),
        ]
        times: list[list[float]] = [[], []]
        for _ in range(REPEATS):
            for way, seconds in zip(ways, times, strict=True):
                start = time.perf_counter()
                way()
                seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def _way(path: Path, graph: bytes, image: np.ndarray, spec: ImageSpec) -> Callable[[], object]:
    path.write_bytes(graph)
    session = OnnxSession(path)
    out = preprocess(image, spec)[0][np.newaxis].copy()

    def run() -> object:
        preprocess(image, spec, out[0])
        return session.run({INPUT: out})

    run()
    return run


if __name__ == "__main__":
    main()
