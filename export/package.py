"""Writing a package folder: whole, checked by replay, and in one step, or not at all."""

from __future__ import annotations

import io
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipelines.errors import PackageError
from pipelines.golden import record_sample
from pipelines.loader import load_package, sha256_of
from pipelines.manifest import (
    GRAPH_FILE,
    Golden,
    GoldenOptions,
    GoldenSample,
    GoldenTolerance,
    ModelManifest,
    Provenance,
    write_manifest,
)
from pipelines.session import ONNXRUNTIME_VERSION, OnnxSession, Session
from pipelines.specs import Head, ImageSpec, TensorSpec
from pipelines.tasks import build_pipeline
from pipelines.types import AnyArray

GOLDEN_FOLDER = "golden"
_UNSEALED = "0" * 64  # write_manifest puts the true seal in its place.
_UNWRITTEN = GoldenSample(image=f"{GOLDEN_FOLDER}/none.png", record=f"{GOLDEN_FOLDER}/none.npz")


@dataclass(frozen=True, kw_only=True)
class PackageDraft:
    """What a manifest says, without what writing finds out (tensors, files, seal).

    Attributes:
        name: of the model, as in a repository.
        version: 1 and up.
        description: one line.
        license: SPDX identifier, or the licence's own words.
        source: where graph and weights come from.
        image: the image part of the recipe.
        head: the head part of the recipe.
        labels: class names by index, or empty.
        provenance: tools, opset, metrics, parity.
        reference: whose golden results.
        recorded_with: versions and script behind those results.
        options: each sample is decoded once with each.
        tolerance: of the golden comparison.
    """

    name: str
    version: int
    description: str
    license: str
    source: str
    image: ImageSpec
    head: Head
    labels: tuple[str, ...]
    provenance: Provenance
    reference: Literal["torch", "upstream", "onnxruntime"]
    recorded_with: Mapping[str, str]
    options: tuple[GoldenOptions, ...]
    tolerance: GoldenTolerance


@dataclass(frozen=True)
class Sample:
    """A golden sample: an encoded image, and its record where the reference made one already."""

    name: str
    image: bytes
    record: Mapping[str, AnyArray] | None = None


def write_package(
    folder: Path,
    draft: PackageDraft,
    *,
    graph: bytes,
    samples: Sequence[Sample],
    reference: Callable[[], Session] | None = None,
    extra: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> ModelManifest:
    """Write a package into ``folder`` and return its sealed manifest.

    ``extra`` are further files by their paths inside the package, such as the report of the gate.

    Samples without a record are recorded through the pipeline with ``reference`` (default: the graph itself in
    onnxruntime). The package is written beside its place, loaded with every check and golden replay, then renamed, so
    that no reader ever sees a part of it. Raises PackageError where ``folder`` exists and ``replace`` is not set.
    """
    if folder.exists() and not replace:
        raise PackageError(f"{folder} exists already")
    with _beside(folder) as unfinished:
        (unfinished / GOLDEN_FOLDER).mkdir()
        (unfinished / GRAPH_FILE).write_bytes(graph)
        for name, data in (extra or {}).items():
            (unfinished / name).parent.mkdir(exist_ok=True)
            (unfinished / name).write_bytes(data)
        manifest = _write_samples(unfinished, draft, samples, reference, tuple(extra or ()))
        manifest = write_manifest(manifest, unfinished)
        load_package(unfinished).close()
        _move(unfinished, folder)
    return manifest


def npz_bytes(record: Mapping[str, AnyArray]) -> bytes:
    """A golden record as the bytes of an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **record)
    return buffer.getvalue()


def _write_samples(
    folder: Path,
    draft: PackageDraft,
    samples: Sequence[Sample],
    reference: Callable[[], Session] | None,
    extra: tuple[str, ...],
) -> ModelManifest:
    with OnnxSession(folder / GRAPH_FILE) as session:
        inputs, outputs = session.inputs, session.graph_outputs
    places = {sample.name: _places(sample) for sample in samples}
    if len(places) != len(samples):
        raise PackageError(f"golden samples must have different names, got {[sample.name for sample in samples]}")
    manifest = draft_manifest(draft, inputs, outputs, tuple(places.values()))
    pipeline = build_pipeline(manifest)
    missing = [sample for sample in samples if sample.record is None]
    records = {sample.name: sample.record for sample in samples if sample.record is not None}
    if missing:
        open_reference = reference or (lambda: OnnxSession(folder / GRAPH_FILE, outputs=draft.head.output_names))
        session_of_reference = open_reference()
        try:
            for sample in missing:
                records[sample.name] = record_sample(pipeline, session_of_reference, sample.image, draft.options)
        finally:
            session_of_reference.close()
    for sample in samples:
        place = places[sample.name]
        (folder / place.image).write_bytes(sample.image)
        (folder / place.record).write_bytes(npz_bytes(records[sample.name]))
    names = [GRAPH_FILE, *extra, *(part for place in places.values() for part in (place.image, place.record))]
    return manifest.model_copy(update={"files": {name: sha256_of(folder / name) for name in sorted(names)}})


def _places(sample: Sample) -> GoldenSample:
    return GoldenSample(image=f"{GOLDEN_FOLDER}/{sample.name}.png", record=f"{GOLDEN_FOLDER}/{sample.name}.npz")


def draft_manifest(
    draft: PackageDraft,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    samples: tuple[GoldenSample, ...] = (_UNWRITTEN,),
) -> ModelManifest:
    """The manifest of a draft, without files and seal: enough to build its pipeline."""
    golden = Golden(
        reference=draft.reference,
        recorded_with=draft.recorded_with,
        options=draft.options,
        samples=samples,
        tolerance=draft.tolerance,
    )
    return ModelManifest(
        schema_version=1,
        name=draft.name,
        version=draft.version,
        description=draft.description,
        license=draft.license,
        source=draft.source,
        image=draft.image,
        head=draft.head,
        labels=draft.labels,
        inputs=inputs,
        outputs=outputs,
        files={},
        golden=golden,
        seal=_UNSEALED,
        provenance=draft.provenance,
    )


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new hidden folder on the same file system; it is gone afterwards unless it was renamed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    unfinished.mkdir()
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _move(unfinished: Path, folder: Path) -> None:
    """Rename into place; what stood there is moved aside first and removed after."""
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    if folder.exists():
        folder.rename(aside)
    try:
        unfinished.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def runtime_versions() -> dict[str, str]:
    """Versions behind a recording made by onnxruntime."""
    return {"onnxruntime": ONNXRUNTIME_VERSION, "numpy": np.__version__}
