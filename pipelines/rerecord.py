"""Recording a package's golden samples and seal anew after its owner changed the recipe on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import GoldenMismatchError
from pipelines.golden import record_sample, replay
from pipelines.loader import check_graph, find_package, sha256_of
from pipelines.manifest import (
    GRAPH_FILE,
    ModelManifest,
    parse_manifest,
    read_manifest,
    read_raw_manifest,
    seal_of,
    write_manifest,
)
from pipelines.session import ONNXRUNTIME_VERSION, OnnxSession
from pipelines.tasks import build_pipeline


@dataclass(frozen=True)
class Drift:
    """How a package differs from what was recorded.

    Attributes:
        recipe_changed: the seal does not fit the recipe.
        files_changed: names of files that differ from their SHA-256 or are gone.
        replay_problem: what the golden replay says, or ``None`` where it agrees.
    """

    recipe_changed: bool
    files_changed: tuple[str, ...]
    replay_problem: str | None

    def __bool__(self) -> bool:
        return bool(self.recipe_changed or self.files_changed or self.replay_problem)


def find_drift(path: Path) -> Drift:
    """Compare a package with its own records; raises PackageError where it cannot even run."""
    folder = find_package(path)
    raw = read_raw_manifest(folder)
    manifest = parse_manifest(raw, where=str(folder))
    changed = tuple(
        name
        for name, expected in manifest.files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != expected
    )
    problem = None
    with OnnxSession(folder / GRAPH_FILE, outputs=manifest.head.output_names) as session:
        check_graph(manifest, session.inputs, session.graph_outputs)
        try:
            replay(manifest, folder, build_pipeline(manifest), session)
        except GoldenMismatchError as error:
            problem = str(error)
    return Drift(seal_of(raw) != manifest.seal, changed, problem)


def rerecord(path: Path) -> ModelManifest:
    """Record samples with onnxruntime and seal the recipe as it stands; the reference becomes ``onnxruntime``."""
    folder = find_package(path)
    manifest = read_manifest(folder, check_seal=False)
    pipeline = build_pipeline(manifest)
    with OnnxSession(folder / GRAPH_FILE, outputs=manifest.head.output_names) as session:
        check_graph(manifest, session.inputs, session.graph_outputs)
        for sample in manifest.golden.samples:
            record = record_sample(pipeline, session, (folder / sample.image).read_bytes(), manifest.golden.options)
            unfinished = folder / f".{Path(sample.record).name}"
            with unfinished.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **record)
            unfinished.replace(folder / sample.record)
    golden = manifest.golden.model_copy(
        update={"reference": "onnxruntime", "recorded_with": {"onnxruntime": ONNXRUNTIME_VERSION}}
    )
    files = {name: sha256_of(folder / name) for name in manifest.files}
    return write_manifest(manifest.model_copy(update={"golden": golden, "files": files}), folder)
