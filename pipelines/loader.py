"""A package folder becomes a ``LoadedModel``, or an error that names the check that failed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self, TypeAlias

from pipelines.errors import ChecksumError, GraphMismatchError, ManifestError, PackageError
from pipelines.external_data import external_files
from pipelines.golden import GoldenReport, replay
from pipelines.golden_cascade import replay_cascade
from pipelines.manifest import GRAPH_FILE, MANIFEST_FILE, CascadeManifest, Manifest, ModelManifest, read_manifest
from pipelines.session import GraphSession, SessionOptions
from pipelines.shaped_session import open_session
from pipelines.specs import Member, TensorSpec
from pipelines.tasks import CascadePipeline, CascadeSessions, Pipeline, build_pipeline


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


@dataclass(frozen=True)
class LoadedCascade:
    """A cascade that passed every check, as did its two members.

    Attributes:
        folder: of the cascade.
        manifest: as read, seal checked.
        detector: the first member.
        second: the second member.
        pipeline: joins the members' pipelines.
        golden: what the replays of the cascade and its members compared; ``None`` where the caller turned them off.
    """

    folder: Path
    manifest: CascadeManifest
    detector: LoadedModel
    second: LoadedModel
    pipeline: CascadePipeline
    golden: GoldenReport | None

    @property
    def session(self) -> CascadeSessions:
        """The members' graphs."""
        return CascadeSessions(self.detector.session, self.second.session)

    def close(self) -> None:
        """Free both graphs."""
        self.detector.close()
        self.second.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Loaded: TypeAlias = LoadedModel | LoadedCascade


def find_package(path: Path) -> Path:
    """The package at ``path``: the folder itself, or the only one inside it (at most two levels down).

    The members of a cascade are parts of it and do not count, nor do hidden folders: packages being written.
    """
    if (path / MANIFEST_FILE).is_file():
        return path
    if not path.is_dir():
        raise PackageError(
            f"{path} must be a package folder, " + ("it is a file" if path.exists() else "there is none")
        )
    manifests = (file for pattern in ("*", "*/*") for file in path.glob(f"{pattern}/{MANIFEST_FILE}"))
    found = sorted(
        file.parent
        for file in manifests
        if not (file.parent.parent / MANIFEST_FILE).is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if len(found) != 1:
        inside = ", ".join(str(folder.relative_to(path)) for folder in found[:5]) or "none"
        raise PackageError(f"{path} must be a package folder or hold exactly one, it holds {len(found)} ({inside})")
    return found[0]


def load_package(path: Path, *, options: SessionOptions | None = None, replay_golden: bool = True) -> Loaded:
    """Check files, seal and graph, create the session, replay the golden samples on its provider.

    Of a cascade all this is done for each member first, with the same options for both. Raises PackageError; its
    subclass says which check failed. A file that may not be read is a PackageError, too.
    """
    try:
        folder = find_package(path)
        manifest = read_manifest(folder)
        if isinstance(manifest, CascadeManifest):
            return _load_cascade(folder, manifest, options, replay_golden=replay_golden)
        return _load_model(folder, manifest, options, replay_golden=replay_golden)
    except OSError as error:
        raise PackageError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def load_model(path: Path, *, options: SessionOptions | None = None, replay_golden: bool = True) -> LoadedModel:
    """As ``load_package``, for what needs a graph of its own: a cascade is refused with PackageError."""
    if isinstance(read_manifest(find_package(path)), CascadeManifest):
        raise PackageError(
            f"{path} must be a package with a graph of its own, it is a cascade: name one of its members"
        )
    loaded = load_package(path, options=options, replay_golden=replay_golden)
    assert isinstance(loaded, LoadedModel)
    return loaded


def _load_cascade(
    folder: Path, manifest: CascadeManifest, options: SessionOptions | None, *, replay_golden: bool
) -> LoadedCascade:
    check_files(folder, manifest)
    head = manifest.head
    with ExitStack() as opened:
        detector, second = (
            opened.enter_context(_load_member(folder, member, options, replay_golden=replay_golden))
            for member in (head.detector, head.second)
        )
        pipeline = CascadePipeline(manifest, detector.pipeline, second.pipeline)
        loaded = LoadedCascade(folder, manifest, detector, second, pipeline, None)
        if replay_golden:
            loaded = replace(loaded, golden=replay_cascade(folder, pipeline, loaded.session, _reports(loaded)))
        opened.pop_all()
    return loaded


def _load_member(folder: Path, member: Member, options: SessionOptions | None, *, replay_golden: bool) -> LoadedModel:
    """Load a package inside a cascade; raises ChecksumError where it is not the one that the cascade names."""
    inside = folder / member.folder
    if inside.is_symlink() or not (inside / MANIFEST_FILE).is_file():
        raise ChecksumError(f"{folder}: {member.folder} must be a package folder inside it, it is a link or missing")
    if (got := sha256_of(inside / MANIFEST_FILE)) != member.manifest_sha256:
        raise ChecksumError(
            f"{folder}: {member.folder}/{MANIFEST_FILE} has SHA-256 {got[:12]}, "
            f"the cascade names {member.manifest_sha256[:12]}"
        )
    manifest = read_manifest(inside)
    if isinstance(manifest, CascadeManifest):
        raise ManifestError(f"{inside} must be a package with a graph of its own, it is a cascade")
    return _load_model(inside, manifest, options, replay_golden=replay_golden)


def _reports(loaded: LoadedCascade) -> tuple[GoldenReport, ...]:
    return tuple(member.golden for member in (loaded.detector, loaded.second) if member.golden is not None)


def _load_model(
    folder: Path, manifest: ModelManifest, options: SessionOptions | None, *, replay_golden: bool
) -> LoadedModel:
    check_files(folder, manifest)
    check_external_data(folder / GRAPH_FILE, manifest)
    pipeline = build_pipeline(manifest)
    session = open_session(folder / GRAPH_FILE, options, outputs=manifest.head.output_names)
    try:
        check_graph(manifest, session.inputs, session.graph_outputs)
        report = replay(manifest, folder, pipeline, session) if replay_golden else None
    except BaseException:
        session.close()
        raise
    return LoadedModel(folder, manifest, pipeline, session, report)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise ChecksumError unless the folder holds exactly the files of the manifest, each with its SHA-256.

    The members of a cascade are looked at when they are loaded.
    """
    if (folder / MANIFEST_FILE).is_symlink():
        raise ChecksumError(f"{folder}: {MANIFEST_FILE} must be a file of the package, it is a link")
    graph = {GRAPH_FILE} if isinstance(manifest, ModelManifest) else set()
    needed = graph | {part for sample in manifest.golden.samples for part in (sample.image, sample.record)}
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
    members = set() if isinstance(manifest, ModelManifest) else _members(manifest)
    for name in sorted(_visible_files(folder) - manifest.files.keys() - {MANIFEST_FILE}):
        if PurePosixPath(name).parts[0] in members:
            continue
        raise ChecksumError(f"{folder}: {name} is not listed in the manifest")


def check_external_data(graph: Path, manifest: ModelManifest) -> None:
    """Raise GraphMismatchError unless every file that the graph keeps weights in is one of the manifest.

    Older onnxruntimes read whatever path a graph names: 1.23 reads files outside its folder.
    """
    try:
        named = external_files(graph)
    except ValueError as error:
        raise GraphMismatchError(f"{graph} does not load: {error}") from error
    if unlisted := sorted(named - manifest.files.keys()):
        raise GraphMismatchError(
            f"{graph} must keep its weights in files that the manifest lists, it names {unlisted[0][:200]!r}"
        )


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


def _members(manifest: CascadeManifest) -> set[str]:
    return {manifest.head.detector.folder, manifest.head.second.folder}


def _visible_files(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)}
