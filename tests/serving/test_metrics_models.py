"""What a server tells of its models: memory, loads, reloads."""

import asyncio
import gc
import logging
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelNotReadyError
from pipelines.loader import load_package
from pipelines.manifest import GRAPH_FILE
from serving.app import ListeningServer
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S, FaultySession, running_server, swap_session


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
    held = iter((100_000_000, 130_000_000))
    monkeypatch.setattr("serving.headroom.resident_bytes", lambda: next(held))
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


GAUGES = ("model_ready", "queue_depth", "queue_bytes", "inflight_requests")


async def until_forgotten(server: ListeningServer, version: int = 1) -> None:
    """Wait until no gauge of a version is shown."""
    async with asyncio.timeout(PATIENCE_S):
        while any(value(server, f"ocella_{name}", version) is not None for name in GAUGES):
            await asyncio.sleep(0)
    assert value(server, "ocella_model_memory_bytes", version, source="files") is None
    infos = server.metrics.registry.restricted_registry(["ocella_model_info"]).collect()
    shown = {(sample.labels["model"], sample.labels["version"]) for family in infos for sample in family.samples}
    assert ("tiny", str(version)) not in shown


async def test_a_version_that_never_loaded_has_no_gauges_once_its_folder_is_gone(repository: Path):
    async with running_server(repository) as server:
        shutil.copytree(repository / "tiny" / "1", repository / "tiny" / "2")
        with pytest.raises(ModelNotReadyError):
            await server.lifecycle.load("tiny")
        assert value(server, "ocella_model_ready", 2) == 0
        shutil.rmtree(repository / "tiny" / "2")
        await server.lifecycle.load("tiny")
        await until_forgotten(server, 2)
        assert value(server, "ocella_model_loads_total", 2, result="failed") == 1
        assert value(server, "ocella_model_ready", 1) == 1


def not_numbers(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value * float("nan") for name, value in outputs.items()}


async def test_a_version_that_was_rolled_back_has_no_gauges_once_its_folder_is_gone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    async with running_server(repository) as server:
        swap_session(monkeypatch, "tiny", lambda session: FaultySession(session, not_numbers))
        make_package(repository / "tiny" / "2", version=2)
        with pytest.raises(ModelNotReadyError, match="golden canary failed"):
            await server.lifecycle.load("tiny")
        assert value(server, "ocella_model_ready", 2) == 0
        shutil.rmtree(repository / "tiny" / "2")
        await server.lifecycle.load("tiny")
        await until_forgotten(server, 2)
        assert value(server, "ocella_model_rollbacks_total", 2) == 1


async def test_an_unloaded_model_has_no_gauges_and_its_queue_is_freed_until_it_is_loaded_again(repository: Path):
    async with running_server(repository) as server:
        queue = weakref.ref(server.catalog.find("tiny", 1).batcher)
        await server.lifecycle.unload("tiny")
        await until_forgotten(server)
        gc.collect()
        assert queue() is None
        await server.lifecycle.load("tiny")
        assert value(server, "ocella_model_ready") == 1
        assert value(server, "ocella_inflight_requests") == 0


async def test_a_model_that_is_loaded_again_while_it_drains_keeps_its_gauges(repository: Path):
    async with running_server(repository, probation_s=0) as server:
        queue = weakref.ref(server.catalog.find("tiny", 1).batcher)
        await server.lifecycle.unload("tiny")
        await server.lifecycle.load("tiny")
        async with asyncio.timeout(PATIENCE_S):
            while queue() is not None:
                await asyncio.sleep(0)
                gc.collect()
        assert value(server, "ocella_model_ready") == 1
        assert value(server, "ocella_inflight_requests") == 0


async def test_a_model_that_is_removed_soon_after_a_reload_in_place_has_no_gauges(
    repository: Path, caplog: pytest.LogCaptureFixture
):
    make_package(repository / "other" / "1", name="other")
    async with running_server(repository, probation_s=PATIENCE_S) as server:
        (repository / "tiny" / "deploy.toml").write_text("[batching]\nmax_size = 3\n")
        await server.lifecycle.load("tiny")
        shutil.rmtree(repository / "tiny")
        await server.lifecycle.rescan()
        await until_forgotten(server)
    gc.collect()  # a task whose error nobody read says so now
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_after_a_rollback_in_place_the_gauges_tell_of_what_answers_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    async with running_server(repository) as server:
        before = server.catalog.find("tiny", 1).loaded.manifest.files[GRAPH_FILE]
        swap_session(monkeypatch, "tiny", lambda session: FaultySession(session, not_numbers))
        shutil.rmtree(repository / "tiny" / "1")
        make_package(repository / "tiny" / "1", graph=classifier_graph(seed=7))
        with pytest.raises(ModelNotReadyError, match="golden canary failed"):
            await server.lifecycle.load("tiny")
        infos = server.metrics.registry.restricted_registry(["ocella_model_info"]).collect()
        assert [sample.labels["sha256"] for family in infos for sample in family.samples] == [before]
