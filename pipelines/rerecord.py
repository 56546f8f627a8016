"""Recording a package's golden samples and seal anew after its owner changed the recipe on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import GoldenMismatchError
from pipelines.golden import GoldenReport, record_sample, replay
from pipelines.golden_cascade import record_cascade, replay_cascade
from pipelines.loader import LoadedModel, check_graph, find_package, load_model, sha256_of
from pipelines.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    CascadeManifest,
    Manifest,
    ModelManifest,
    parse_manifest,
    read_manifest,
    read_raw_manifest,
    seal_of,
    write_manifest,
)
from pipelines.session import ONNXRUNTIME_VERSION, OnnxSession
from pipelines.specs import Member
from pipelines.tasks import CascadePipeline, CascadeSessions, build_pipeline
from pipelines.types import AnyArray

_BY_RUNTIME = {"reference": "onnxruntime", "recorded_with": {"onnxruntime": ONNXRUNTIME_VERSION}}


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
    sealed = seal_of(raw) == manifest.seal
    if isinstance(manifest, CascadeManifest):
        moved = tuple(
            f"{member.folder}/{MANIFEST_FILE}"
            for member in (manifest.head.detector, manifest.head.second)
            if sha256_of(folder / member.folder / MANIFEST_FILE) != member.manifest_sha256
        )
        return Drift(not sealed, changed + moved, _cascade_problem(folder, manifest))
    problem = None
    with OnnxSession(folder / GRAPH_FILE, outputs=manifest.head.output_names) as session:
        check_graph(manifest, session.inputs, session.graph_outputs)
        try:
            replay(manifest, folder, build_pipeline(manifest), session)
        except GoldenMismatchError as error:
            problem = str(error)
    return Drift(not sealed, changed, problem)


def rerecord(path: Path) -> Manifest:
    """Record samples with onnxruntime and seal the recipe as it stands; the reference becomes ``onnxruntime``.

    A cascade takes its members as they stand, too; each must be intact, a member that is not is recorded first.
    """
    folder = find_package(path)
    manifest = read_manifest(folder, check_seal=False)
    if isinstance(manifest, CascadeManifest):
        return _rerecord_cascade(folder, manifest)
    return _rerecord_model(folder, manifest)


def _rerecord_model(folder: Path, manifest: ModelManifest) -> ModelManifest:
    pipeline = build_pipeline(manifest)
    with OnnxSession(folder / GRAPH_FILE, outputs=manifest.head.output_names) as session:
        check_graph(manifest, session.inputs, session.graph_outputs)
        for sample in manifest.golden.samples:
            record = record_sample(pipeline, session, (folder / sample.image).read_bytes(), manifest.golden.options)
            _write_record(folder / sample.record, record)
    golden = manifest.golden.model_copy(update=_BY_RUNTIME)
    files = {name: sha256_of(folder / name) for name in manifest.files}
    return write_manifest(manifest.model_copy(update={"golden": golden, "files": files}), folder)


def _rerecord_cascade(folder: Path, manifest: CascadeManifest) -> CascadeManifest:
    with _opened(folder, manifest) as (pipeline, sessions, _):
        for sample in manifest.golden.samples:
            data = (folder / sample.image).read_bytes()
            _write_record(folder / sample.record, record_cascade(pipeline, sessions, data, manifest.golden.options))
    golden = manifest.golden.model_copy(update=_BY_RUNTIME)
    head = manifest.head.model_copy(
        update={
            "detector": bind_member(folder, manifest.head.detector.folder),
            "second": bind_member(folder, manifest.head.second.folder),
        }
    )
    files = {name: sha256_of(folder / name) for name in manifest.files}
    return write_manifest(manifest.model_copy(update={"golden": golden, "head": head, "files": files}), folder)


def bind_member(folder: Path, name: str) -> Member:
    """Name the package ``folder/name`` as it stands now."""
    return Member(folder=name, manifest_sha256=sha256_of(folder / name / MANIFEST_FILE))


def _cascade_problem(folder: Path, manifest: CascadeManifest) -> str | None:
    with _opened(folder, manifest) as (pipeline, sessions, reports):
        try:
            replay_cascade(folder, pipeline, sessions, reports)
        except GoldenMismatchError as error:
            return str(error)
    return None


@contextmanager
def _opened(
    folder: Path, manifest: CascadeManifest
) -> Iterator[tuple[CascadePipeline, CascadeSessions, list[GoldenReport]]]:
    """A cascade's members, each checked as any package is, whatever the cascade's own records say."""
    with ExitStack() as opened:
        members: list[LoadedModel] = []
        for member in (manifest.head.detector, manifest.head.second):
            members.append(opened.enter_context(load_model(folder / member.folder)))
        detector, second = members
        pipeline = CascadePipeline(manifest, detector.pipeline, second.pipeline)
        reports = [member.golden for member in members if member.golden is not None]
        yield pipeline, CascadeSessions(detector.session, second.session), reports


def _write_record(path: Path, record: Mapping[str, AnyArray]) -> None:
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **record)
    unfinished.replace(path)
