"""What a server tells of its models: memory, loads, reloads."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelNotReadyError
from pipelines.loader import load_package
from serving.app import ListeningServer
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S, running_server


def value(server: ListeningServer, name: str, version: int = 1, **labels: str) -> float | None:
    labels = {"model": "tiny", "version": str(version)} | labels
    return server.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    make_package(tmp_path / "tiny" / "1")
    return tmp_path


async def test_a_model_is_told_of_by_its_files_and_by_what_its_load_took(repository: Path):
    async with running_server(repository) as server:
        files = value(server, "ocella_model_memory_bytes", source="files")
        assert files == (repository / "tiny" / "1" / "model.onnx").stat().st_size
        grown = value(server, "ocella_model_memory_bytes", source="load")
        assert grown is not None
        assert grown >= 0


async def test_what_a_load_took_is_the_growth_from_before_it_to_after_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    held = iter((100_000_000, 100_000_000, 130_000_000))  # before, in the check of the room, after
    monkeypatch.setattr("serving.loading.resident_bytes", lambda: next(held))
    async with running_server(repository) as server:
        assert value(server, "ocella_model_memory_bytes", source="load") == 30_000_000


async def test_of_loads_beside_each_other_nothing_is_told_but_their_files(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    make_package(repository / "other" / "1", name="other")
    both = threading.Barrier(2)

    def load_together(folder: Path, **arguments: Any) -> Any:
        both.wait(PATIENCE_S)
        return load_package(folder, **arguments)

    monkeypatch.setattr("serving.loading.load_package", load_together)
    monkeypatch.setattr("serving.core.usable_cores", lambda: 2)
    async with running_server(repository) as server:
        assert value(server, "ocella_model_memory_bytes", source="files")
        assert value(server, "ocella_model_memory_bytes", source="load") is None


async def test_a_reload_counts_for_the_version_that_came(repository: Path):
    async with running_server(repository) as server:
        assert value(server, "ocella_model_reloads_total") == 0
        make_package(repository / "tiny" / "2", version=2)
        await server.lifecycle.load("tiny")
        assert value(server, "ocella_model_reloads_total", 2) == 1
        assert value(server, "ocella_model_reloads_total", 1) == 0
        assert value(server, "ocella_model_loads_total", 2, result="ok") == 1


async def test_a_load_that_fails_counts_and_changes_nothing(repository: Path):
    async with running_server(repository) as server:
        shutil.copytree(repository / "tiny" / "1", repository / "tiny" / "2")
        with pytest.raises(ModelNotReadyError):
            await server.lifecycle.load("tiny")
        assert value(server, "ocella_model_loads_total", 2, result="failed") == 1
        assert value(server, "ocella_model_reloads_total", 2) == 0
        assert value(server, "ocella_model_ready", 1) == 1
