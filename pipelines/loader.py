"""A package folder becomes a ``LoadedModel``, or an error that names the check that failed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from pipelines.errors import ChecksumError, GraphMismatchError, PackageError
from pipelines.golden import GoldenReport, replay
from pipelines.manifest import GRAPH_FILE, MANIFEST_FILE, ModelManifest, read_manifest
from pipelines.session import GraphSession, OnnxSession, SessionOptions
from pipelines.specs import TensorSpec
from pipelines.tasks import Pipeline, build_pipeline


@dataclass(frozen=True)
class LoadedModel:
    """A model that passed every check of its package.

    Attributes:
        folder: of the package.
        manifest: as read, seal checked.
        pipeline: pre- and post-processing.
        session: the graph.
        golden: what the replay compared; ``None`` where the caller turned it off.
    """

    folder: Path
    manifest: ModelManifest
    pipeline: Pipeline
    session: GraphSession
    golden: GoldenReport | None

    def close(self) -> None:
        """Free the graph."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_package(path: Path) -> Path:
    """The package at ``path``: the folder itself, or the only one inside it (at most two levels down)."""
    if (path / MANIFEST_FILE).is_file():
        return path
    if not path.is_dir():
        raise PackageError(
            f"{path} must be a package folder, " + ("it is a file" if path.exists() else "there is none")
        )
    found = sorted(file.parent for pattern in ("*", "*/*") for file in path.glob(f"{pattern}/{MANIFEST_FILE}"))
    if len(found) != 1:
        inside = ", ".join(str(folder.relative_to(path)) for folder in found[:5]) or "none"
        raise PackageError(f"{path} must be a package folder or hold exactly one, it holds {len(found)} ({inside})")
    return found[0]


def load_package(path: Path, *, options: SessionOptions | None = None, replay_golden: bool = True) -> LoadedModel:
    """Check files, seal and graph, create the session, replay the golden samples on its provider.

    Raises PackageError; its subclass says which check failed. A file that may not be read is a PackageError, too.
    """
    try:
        return _load(path, options, replay_golden=replay_golden)
    except OSError as error:
        raise PackageError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def _load(path: Path, options: SessionOptions | None, *, replay_golden: bool) -> LoadedModel:
    folder = find_package(path)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    pipeline = build_pipeline(manifest)
    session = OnnxSession(folder / GRAPH_FILE, options, outputs=manifest.head.output_names)
    try:
        check_graph(manifest, session.inputs, session.graph_outputs)
        report = replay(manifest, folder, pipeline, session) if replay_golden else None
    except BaseException:
        session.close()
        raise
    return LoadedModel(folder, manifest, pipeline, session, report)


def check_files(folder: Path, manifest: ModelManifest) -> None:
    """Raise ChecksumError unless the folder holds exactly the files of the manifest, each with its SHA-256."""
    needed = {GRAPH_FILE, *(part for sample in manifest.golden.samples for part in (sample.image, sample.record))}
    for name in sorted(needed - manifest.files.keys()):
        raise ChecksumError(f"{folder}: files must list {name}, it lists {len(manifest.files)} others")
    for name, expected in manifest.files.items():
        if not _is_inside(name):
            raise ChecksumError(f"{folder}: files names {name!r}, which is not a plain path inside the package")
        path = folder / name
        if not path.is_file():
            raise ChecksumError(f"{folder}: {name} is missing")
        if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            raise ChecksumError(f"{folder}: {name} must be a file of the package, it is a link")
        if (got := sha256_of(path)) != expected:
            raise ChecksumError(f"{folder}: {name} has SHA-256 {got[:12]}, the manifest says {expected[:12]}")
    for name in sorted(_visible_files(folder) - manifest.files.keys() - {MANIFEST_FILE}):
        raise ChecksumError(f"{folder}: {name} is not listed in the manifest")


def check_graph(manifest: ModelManifest, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> None:
    """Raise GraphMismatchError unless names, dtypes and fixed sizes of the graph are those of the manifest."""
    for kind, expected, got in (
        ("input", manifest.inputs, tuple(inputs)),
        ("output", manifest.outputs, tuple(outputs)),
    ):
        if [spec.name for spec in expected] != [spec.name for spec in got]:
            raise GraphMismatchError(
                f"{manifest.name}: graph {kind}s are {[spec.name for spec in got]}, "
                f"the manifest says {[spec.name for spec in expected]}"
            )
        for want, have in zip(expected, got, strict=True):
            if want.dtype != have.dtype or not _same_shape(want.shape, have.shape):
                raise GraphMismatchError(
                    f"{manifest.name}: graph {kind} {have.name} is {have.dtype} {list(have.shape)}, "
                    f"the manifest says {want.dtype} {list(want.shape)}"
                )


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same_shape(a: tuple[int | str, ...], b: tuple[int | str, ...]) -> bool:
    """Equal fixed sizes at equal places; the names of dynamic ones do not matter."""
    return len(a) == len(b) and all(
        x == y if isinstance(x, int) and isinstance(y, int) else isinstance(x, str) and isinstance(y, str)
        for x, y in zip(a, b, strict=True)
    )


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _visible_files(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)}
