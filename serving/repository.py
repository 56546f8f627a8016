"""Which model versions lie in the folders that the operator names."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pipelines.errors import ManifestError, OcellaError, PackageError
from pipelines.manifest import MANIFEST_FILE, NAME_PATTERN, Manifest, read_manifest
from serving.deploy import Deploy, DeployError, chosen_versions, read_deploy
from serving.settings import StartError
from serving.signature import is_whole

LAYOUT = "<model>/<version>/manifest.json"
Served: TypeAlias = Collection[tuple[str, int]]
_VERSION = re.compile(r"[1-9][0-9]{0,6}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A model version that should be served.

    Attributes:
        name: of the model.
        version: of the model.
        folder: of the package.
        deploy: the operator's choices.
        problem: why it cannot be loaded, as far as its place on disk shows; else ``None``.
    """

    name: str
    version: int
    folder: Path
    deploy: Deploy
    problem: str | None = None


@dataclass(frozen=True)
class ModelFolder:
    """One model of a repository: what lies there, and what the operator wants of it.

    Attributes:
        name: of the model.
        chosen: the versions that should answer, ascending.
        others: versions that lie there and are not chosen, ascending.
    """

    name: str
    chosen: tuple[Candidate, ...]
    others: tuple[Candidate, ...] = ()

    @property
    def older(self) -> tuple[Candidate, ...]:
        """What may answer in the place of a newest version that does not load, newest first."""
        if self.chosen[0].deploy.versions != "latest" or self.chosen[0].problem:
            return ()
        return tuple(reversed(self.others))


def embedded_repository() -> Path:
    """The repository that ships with Ocella: inside the wheel, or ``models/`` of a source tree."""
    here = Path(__file__).parent
    packed = here / "_models"
    return packed if packed.is_dir() else here.parent / "models"


def scan(folders: Iterable[Path]) -> tuple[Candidate, ...]:
    """The model versions to serve; raises StartError as ``survey`` does."""
    return tuple(candidate for model in survey(folders) for candidate in model.chosen)


def survey(folders: Iterable[Path], *, served: Served | None = None) -> tuple[ModelFolder, ...]:
    """The models of repositories (``<model>/<version>/``), model folders and package folders.

    Raises StartError where a folder is missing, cannot be read or holds no package, or where two hold the same model.

    Args:
        folders: as the operator names them.
        served: names and versions that are loaded, where this is not the first look: of the others a version of which
            a file is missing is not there yet, and what is ignored was said before.
    """
    found: dict[str, Path] = {}
    models: list[ModelFolder] = []
    for folder in folders:
        if not folder.is_dir():
            raise StartError(
                f"{folder} must be a folder of models, " + ("it is a file" if folder.exists() else "it is missing")
            )
        try:
            inside = _inside(folder, served=served)
        except OSError as error:
            raise StartError(f"{folder} cannot be read: {error.strerror}") from error
        if not inside:
            raise StartError(f"{folder} holds no package, a repository is laid out as {LAYOUT}")
        for model in inside:
            if model.name in found:
                raise StartError(f"model {model.name} must be in one folder, it is in {found[model.name]} and {folder}")
            found[model.name] = folder
        models += inside
    return tuple(models)


def check_identity(candidate: Candidate) -> Manifest:
    """The package's manifest; raises PackageError unless its name and version are those of its folders."""
    manifest = read_manifest(candidate.folder)
    if (manifest.name, manifest.version) != (candidate.name, candidate.version):
        raise ManifestError(
            f"{candidate.folder} must hold {candidate.name} version {candidate.version}, "
            f"its manifest says {manifest.name} version {manifest.version}"
        )
    return manifest


def _inside(folder: Path, *, served: Served | None) -> list[ModelFolder]:
    if (folder / MANIFEST_FILE).is_file():
        candidate = _package(folder)
        return [ModelFolder(candidate.name, (candidate,))]
    if any((folder / str(version) / MANIFEST_FILE).is_file() for version in _versions(folder)):
        return _model(folder.resolve(), served=served)
    return _repository(folder, served=served)


def _package(folder: Path) -> Candidate:
    """A package named directly; its model's ``deploy.toml`` counts where it lies in a repository."""
    try:
        manifest = read_manifest(folder)
    except PackageError as error:
        raise StartError(str(error)) from error
    place = folder.resolve()
    in_repository = (place.parent.name, place.name) == (manifest.name, str(manifest.version))
    try:
        deploy = read_deploy(place.parent) if in_repository else Deploy()
    except DeployError as error:
        raise StartError(str(error)) from error
    return Candidate(manifest.name, manifest.version, folder, deploy)


def _repository(root: Path, *, served: Served | None) -> list[ModelFolder]:
    models: list[ModelFolder] = []
    for folder in sorted(root.iterdir()):
        try:
            models += _in_repository(folder, root, served=served)
        except OSError as error:  # one folder's permissions must not stop the other models
            level = logging.ERROR if served is None else logging.DEBUG
            _log.log(level, "%s is not served: it cannot be read: %s", folder, error.strerror)
    return models


def _in_repository(folder: Path, root: Path, *, served: Served | None) -> list[ModelFolder]:
    if not folder.is_dir() or folder.name.startswith("."):
        return []
    level = _level(served)
    if (folder / MANIFEST_FILE).is_file():
        _log.log(level, "%s is ignored: a package lies in %s/%s", folder, root, LAYOUT)
        return []
    if not re.match(NAME_PATTERN, folder.name):
        _log.log(level, "%s is ignored: a model's name must match %s", folder, NAME_PATTERN)
        return []
    if not _lies_in(folder, root):
        _log.log(level, "%s is ignored: it is a link out of %s", folder, root)
        return []
    return _model(folder, served=served)


def _model(folder: Path, *, served: Served | None) -> list[ModelFolder]:
    """One model; with a bad ``deploy.toml`` its newest version is chosen, and marked with the problem."""
    present = tuple(
        version
        for version in _versions(folder)
        if _lies_in(folder / str(version), folder.parent)
        and (served is None or (folder.name, version) in served or is_whole(folder / str(version)))
    )
    if not present:
        _log.log(_level(served), "%s is ignored: it has no version folder such as %s/1", folder, folder)
        return []
    try:
        deploy = read_deploy(folder)
        versions, problem = chosen_versions(deploy, present, model_folder=folder), None
    except OcellaError as error:
        deploy, versions, problem = Deploy(), (max(present),), str(error)
    every = [Candidate(folder.name, version, folder / str(version), deploy, problem) for version in sorted(present)]
    chosen = tuple(candidate for candidate in every if candidate.version in versions)
    return [ModelFolder(folder.name, chosen, tuple(candidate for candidate in every if candidate not in chosen))]


def _lies_in(folder: Path, root: Path) -> bool:
    """Whether a folder is where it seems to be, or a link to another place of its repository."""
    return folder.resolve().is_relative_to(root.resolve())


def _level(served: Served | None) -> int:
    return logging.WARNING if served is None else logging.DEBUG


def _versions(folder: Path) -> tuple[int, ...]:
    """Versions that have a folder in a model's folder."""
    return tuple(int(child.name) for child in folder.iterdir() if _VERSION.fullmatch(child.name) and child.is_dir())
