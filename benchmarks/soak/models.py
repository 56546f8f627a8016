"""The models of the soak, and versions of one of them that come, are broken, and go."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.manifest import GRAPH_FILE
from tests.packages import edit_manifest

CLASSIFIER, EMBEDDER, DETECTOR = "digits", "orl-faces", "trees"
RELOADED = CLASSIFIER
_EMBEDDED = Path(__file__).parents[2] / "models"


def make_repository(root: Path) -> Path:
    """A repository of three of the models that come with Ocella."""
    for name in (CLASSIFIER, EMBEDDER, DETECTOR):
        shutil.copytree(_EMBEDDED / name, root / name)
    return root


def add_version(root: Path, version: int, *, broken: bool) -> None:
    """Add a version that is the first one again, or one whose graph is cut short; complete once it has its name."""
    model = root / RELOADED
    made = model / f".{version}"
    shutil.copytree(model / "1", made)
    edit_manifest(made, lambda raw: raw.update(version=version), reseal=True)
    if broken:
        graph = made / GRAPH_FILE
        graph.write_bytes(graph.read_bytes()[:-1])
    made.rename(model / str(version))


def remove_version(root: Path, version: int) -> None:
    """Take a version away."""
    shutil.rmtree(root / RELOADED / str(version))
