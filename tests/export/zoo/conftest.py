"""Real models, each pulled once for the whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.zoo import RECIPES
from export.zoo.pull import pull


@pytest.fixture(scope="session")
def zoo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="session")
def pulled_model(zoo_root: Path) -> Callable[[str], Path]:
    """The package folder of a model, by name."""
    lines: dict[str, list[str]] = {}

    def folder(name: str) -> Path:
        if name not in lines:
            lines[name] = []
            pull(RECIPES[name], zoo_root, report=lines[name].append)
        return zoo_root / name / str(RECIPES[name].version)

    return folder
