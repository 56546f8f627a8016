"""A server that follows its folders: whole versions come and go, half-written ones are left alone."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from pipelines.manifest import GRAPH_FILE
from serving.app import ListeningServer
from serving.watcher import Watcher
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S, running_server
from tests.serving.test_guard import NOT_SERVING, SERVING, watching
from tests.serving.test_lifecycle import answering, place, spoil, until, versions

__all__ = ["versions"]  # a fixture


@pytest.fixture
async def followed(versions: dict[int, Path], tmp_path: Path) -> AsyncIterator[ListeningServer]:
    """A server that follows a repository of one model, by itself."""
    place(versions[1], tmp_path)
    async with running_server(tmp_path, watch=True, watch_interval_s=0.02) as server:
        yield server


@pytest.fixture
async def watcher(versions: dict[int, Path], tmp_path: Path) -> AsyncIterator[tuple[ListeningServer, Watcher]]:
    """A server, and what would follow its folders, which looks only when it is told to."""
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        yield server, Watcher(server.lifecycle, interval_s=1)


async def looks(watcher: Watcher, times: int) -> None:
    for _ in range(times):
        await watcher.look()


async def test_a_version_that_appears_answers(followed: ListeningServer, versions: dict[int, Path], tmp_path: Path):
    place(versions[2], tmp_path)
    await until(followed, 2)


async def test_a_version_that_vanishes_gives_way_to_the_one_before(
    followed: ListeningServer, versions: dict[int, Path], tmp_path: Path
):
    newest = place(versions[2], tmp_path)
    await until(followed, 2)
    shutil.rmtree(newest)
    await until(followed, 1)


async def test_a_model_that_appears_answers_and_one_that_vanishes_is_unknown(followed: ListeningServer, tmp_path: Path):
    make_package(tmp_path / ".other", name="other")
    (tmp_path / "other").mkdir()
    (tmp_path / ".other").rename(tmp_path / "other" / "1")
    await until(followed, 1, name="other")
    shutil.rmtree(tmp_path / "other")
    await until(followed, name="other")
    assert {status.name for status in followed.catalog.statuses()} == {"classes"}


async def test_a_changed_deploy_toml_applies(followed: ListeningServer, tmp_path: Path):
    (tmp_path / "classes" / "deploy.toml").write_text("[batching]\nmax_size = 3\n")
    async with asyncio.timeout(PATIENCE_S):
        while followed.catalog.find("classes", 1).policy.max_size != 3:
            await followed.catalog.changed.wait()


async def test_a_change_counts_once_two_looks_agree_on_it(
    watcher: tuple[ListeningServer, Watcher], versions: dict[int, Path], tmp_path: Path
):
    server, watch = watcher
    await looks(watch, 2)
    place(versions[2], tmp_path)
    await looks(watch, 1)
    assert answering(server) == [1]
    await looks(watch, 1)
    assert answering(server) == [2]


@pytest.mark.parametrize("missing", [GRAPH_FILE, "manifest.json", "golden/sample-0.png"])
async def test_a_half_written_folder_is_never_loaded(
    watcher: tuple[ListeningServer, Watcher], versions: dict[int, Path], tmp_path: Path, missing: str
):
    server, watch = watcher
    half = place(versions[2], tmp_path)
    (half / missing).unlink()
    await looks(watch, 3)
    assert [(status.version, status.ready) for status in server.catalog.statuses()] == [(1, True)]
    labels = {"model": "classes", "version": "2", "result": "failed"}
    assert server.metrics.registry.get_sample_value("ocella_model_loads_total", labels) is None
    shutil.copy(versions[2] / missing, half / missing)
    await looks(watch, 2)
    assert answering(server) == [2]


async def test_a_version_that_loses_a_file_while_it_serves_goes_on(
    watcher: tuple[ListeningServer, Watcher], tmp_path: Path
):
    server, watch = watcher
    served = server.catalog.find("classes", 1)
    (tmp_path / "classes" / "1" / GRAPH_FILE).unlink()
    await looks(watch, 3)
    assert server.catalog.find("classes", 1) is served


async def test_a_broken_version_is_tried_once(
    watcher: tuple[ListeningServer, Watcher], versions: dict[int, Path], tmp_path: Path
):
    server, watch = watcher
    spoil(place(versions[2], tmp_path))
    await looks(watch, 6)
    labels = {"model": "classes", "version": "2", "result": "failed"}
    assert server.metrics.registry.get_sample_value("ocella_model_loads_total", labels) == 1
    assert answering(server) == [1]


async def test_an_unloaded_model_stays_unloaded_whatever_its_folder_does(
    watcher: tuple[ListeningServer, Watcher], versions: dict[int, Path], tmp_path: Path
):
    server, watch = watcher
    await server.lifecycle.unload("classes")
    place(versions[2], tmp_path)
    await looks(watch, 3)
    assert answering(server) == []
    await server.lifecycle.load("classes")
    assert answering(server) == [2]


async def test_health_hears_of_a_model_that_comes_and_goes_and_of_no_swap(
    watcher: tuple[ListeningServer, Watcher], versions: dict[int, Path], tmp_path: Path
):
    server, watch = watcher
    async with watching(server, "classes") as state:
        assert await state() == SERVING
        place(versions[2], tmp_path)
        await looks(watch, 2)
        assert answering(server) == [2]
        await server.lifecycle.unload("classes")
        assert await state() == NOT_SERVING  # the first change that it hears of
        await server.lifecycle.load("classes")
        assert await state() == SERVING
        make_package(tmp_path / "other" / "1", name="other")  # a folder without any model looks like a lost mount
        shutil.rmtree(tmp_path / "classes")
        await looks(watch, 2)
        assert await state() == HealthCheckResponse.SERVICE_UNKNOWN
        place(versions[1], tmp_path)
        await looks(watch, 2)
        assert await state() == NOT_SERVING  # it loads
        assert await state() == SERVING


async def test_a_root_that_is_gone_unloads_nothing_and_is_said_once(
    followed: ListeningServer, versions: dict[int, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lost = tmp_path.with_name(f"{tmp_path.name}-lost")
    with caplog.at_level(logging.ERROR):
        tmp_path.rename(lost)
        async with asyncio.timeout(PATIENCE_S):
            while not caplog.records:
                await asyncio.sleep(0)
        assert "the models stay as they are" in caplog.text
        assert answering(followed) == [1]
        place(versions[2], lost)
        lost.rename(tmp_path)
        await until(followed, 2)
    assert len(caplog.records) == 1
