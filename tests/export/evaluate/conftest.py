"""One repository of tiny packages, and data for each task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.export.evaluate import packages


@dataclass(frozen=True)
class World:
    repository: Path
    packages: dict[str, Path]
    data: dict[str, Path]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    folders = {task: packages.package(root / "repository", task) for task in packages.TASKS}
    data = {task: packages.data(root / task / "data", task, folders[task]) for task in packages.TASKS}
    return World(root / "repository", folders, data)
