"""Faces: search among 100,000 people against one matrix product; a photo of ten faces against its two models' runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from export.cascade import CascadeRecipe, write_cascade
from export.cli import cache_root
from export.zoo import RECIPES
from export.zoo.pull import pull
from pipelines.loader import LoadedCascade, load_package
from pipelines.options import PredictOptions
from pipelines.present import encode_png
from pipelines.tasks import predict
from pipelines.tasks.cascade import CascadePipeline
from pipelines.types import CascadeResult, Embedding
from serving.gallery.index import Index, SearchPolicy
from tests.builders import embedding_head
from tests.cascades import align_crop
from tests.graphs import embedder_graph
from tests.packages import make_package, photo

ROOT = Path(__file__).parent.parent

PEOPLE, DIM, ROUNDS = 100_000, 128, 60
FACES = 10


def main() -> None:
    """Print each figure with the least time of each side: both sides take turns, so that load falls on both."""
    search()
    with tempfile.TemporaryDirectory() as folder:
        crowd(Path(folder))


def search() -> None:
    """Identify against the exact product that it replaces."""
    generator = np.random.default_rng(0)
    gallery = generator.normal(size=(PEOPLE, DIM)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    index = Index(gallery, np.arange(PEOPLE), SearchPolicy(hnsw_above=None))
    known = (gallery[777:778] + 0.03 * generator.normal(size=(1, DIM))).astype(np.float32)
    unknown = generator.normal(size=(1, DIM)).astype(np.float32)
    seconds = measure(
        {
            "product": lambda: known @ gallery.T,
            "known": lambda: index.search(known, 5),
            "unknown": lambda: index.search(unknown, 5),
        }
    )
    for name in ("known", "unknown"):
        ratio = seconds[name] / seconds["product"]
        shown = f"{seconds[name] * 1e3:.2f} ms against {seconds['product'] * 1e3:.2f} ms"
        print(f"identify a face of somebody {name} among {PEOPLE:,}: {ratio:.2f} of the product ({shown})")
    graph = Index(gallery[:20_000], np.arange(20_000), SearchPolicy(hnsw_above=10_000, least_recall=0.0))
    print(f"HNSW over 20,000 even directions: {graph.searched_by}")


def crowd(folder: Path) -> None:
    """A photo with ten faces against one run of the detector and one run of the embedder with ten rows.

    The detector is CenterFace (`ocella zoo pull centerface`), the embedder ours, or a tiny one where it is not built.
    """
    detector = pull(RECIPES["centerface"], cache_root(None), report=lambda _: None)
    embedder = ROOT / "models" / "orl-faces"
    if not embedder.is_dir():
        embedder = make_package(folder / "tiny", graph=embedder_graph(), head=embedding_head(), name="tiny")
    tile = np.asarray(photo(size_wh=(512, 512)))[20:220, 140:320]  # the astronaut's head
    image = np.concatenate([np.concatenate([tile] * 5, axis=1)] * 2)
    sample = folder / "sample.png"
    sample.write_bytes(encode_png(image))
    recipe = CascadeRecipe(
        name="faces", version=1, description="Faces.", crop=align_crop(size_px=112), max_objects=FACES
    )
    write_cascade(folder / "faces", recipe, detector=detector, second=embedder, samples=[sample])
    with load_package(folder / "faces") as loaded:
        assert isinstance(loaded, LoadedCascade)
        (result,) = predict(loaded.pipeline, loaded.session, [image], PredictOptions())
        assert len(result) == FACES, f"the photo must have {FACES} faces, {len(result)} were found"
        check_batched_equals_single(loaded.pipeline, loaded, result, image)
        rows = np.stack(loaded.pipeline.prepare(image, result.detections).rows)
        member = loaded.second.session
        name = member.inputs[0].name
        seconds = measure(
            {
                "whole": lambda: predict(loaded.pipeline, loaded.session, [image], PredictOptions()),
                "detector": lambda: predict(
                    loaded.detector.pipeline, loaded.detector.session, [image], PredictOptions()
                ),
                "embedder": lambda: member.run({name: rows}),
            }
        )
    parts = seconds["detector"] + seconds["embedder"]
    print(
        f"a photo of {FACES} faces: {seconds['whole'] / parts:.2f} of the detector and one batch of {FACES} of the "
        f"embedder ({seconds['whole'] * 1e3:.1f} ms against {parts * 1e3:.1f} ms)"
    )


def check_batched_equals_single(
    pipeline: CascadePipeline, loaded: LoadedCascade, result: CascadeResult, image: np.ndarray
) -> None:
    """Every face embedded on its own gives the bits that it has in the batch."""
    rows = pipeline.prepare(image, result.detections).rows
    name, output = loaded.second.session.inputs[0].name, loaded.second.session.outputs[0].name
    for row, batched in zip(rows, result.objects, strict=True):
        alone = loaded.second.session.run({name: row[None]})[output][0]
        assert isinstance(batched, Embedding)
        unit = alone.astype(np.float64) / np.linalg.norm(alone.astype(np.float64))
        assert np.array_equal(unit.astype(np.float32), batched.vector)
    print(f"{FACES} faces in one batch: equal to the bit to {FACES} alone")


def measure(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Least seconds of each call."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


if __name__ == "__main__":
    main()
