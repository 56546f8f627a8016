import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest

from pipelines.errors import DrainingError, ModelNotReadyError, UnknownModelError
from serving.catalog import Catalog, ModelStatus
from serving.served import ServedModel


@dataclass
class Served:
    """As much of a served model as a catalog looks at."""

    name: str
    version: int
    task: str = "detection"


def served(name: str, version: int) -> ServedModel:
    return cast(ServedModel, Served(name, version))


def catalog_of(*ready: tuple[str, int], failed: tuple[str, int, str] | None = None) -> Catalog:
    catalog = Catalog()
    for name, version in ready:
        catalog.put_ready(served(name, version))
    if failed:
        catalog.put_status(ModelStatus(failed[0], failed[1], reason=failed[2]))
    catalog.settle()
    return catalog


@pytest.mark.parametrize(("asked", "found"), [(0, 10), (2, 2), (10, 10)])
async def test_version_0_is_the_newest_that_is_ready(asked: int, found: int):
    catalog = catalog_of(("faces", 10), ("faces", 2), failed=("faces", 11, "broken"))
    assert catalog.find("faces", asked).version == found


async def test_a_name_that_nobody_knows_is_unknown():
    with pytest.raises(UnknownModelError, match="no model is called 'cats'"):
        catalog_of(("faces", 1)).find("cats", 0)


@pytest.mark.parametrize("version", [3, -1, 2**62])
async def test_a_version_that_nobody_knows_is_unknown_and_the_known_ones_are_named(version: int):
    with pytest.raises(UnknownModelError, match=rf"version of faces must be among \[1, 2\] or 0, got {version}"):
        catalog_of(("faces", 1), ("faces", 2)).find("faces", version)


@pytest.mark.parametrize("version", [0, 1])
async def test_a_model_that_failed_is_not_ready_and_says_why(version: int):
    catalog = catalog_of(("faces", 1), failed=("cats", 1, "its checksum differs"))
    with pytest.raises(ModelNotReadyError, match="cats version 1 is not ready: its checksum differs"):
        catalog.find("cats", version)


async def test_a_model_is_loading_until_it_is_said_to_be_ready():
    catalog = Catalog()
    catalog.put_status(ModelStatus("faces", 1))
    assert [(status.ready, status.reason) for status in catalog.statuses()] == [(False, "loading")]
    catalog.put_ready(served("faces", 1))
    assert catalog.statuses() == (ModelStatus("faces", 1, "detection", ""),)


async def test_a_draining_catalog_finds_nothing():
    catalog = catalog_of(("faces", 1))
    catalog.drain()
    with pytest.raises(DrainingError):
        catalog.find("faces", 1)


@pytest.mark.parametrize(
    ("name", "version", "labels"),
    [
        ("faces", 0, ("faces", "2")),
        ("faces", 1, ("faces", "1")),
        ("faces", 9, ("faces", "")),
        ("cats", 0, ("cats", "")),
        ("cats", 1, ("cats", "1")),
        ("x" * 10_000, 0, ("_unknown", "")),
        ("_unknown", 1, ("_unknown", "")),
    ],
)
async def test_labels_are_bounded_by_what_is_known(name: str, version: int, labels: tuple[str, str]):
    catalog = catalog_of(("faces", 1), ("faces", 2), failed=("cats", 1, "broken"))
    assert catalog.labels(name, version) == labels


async def test_the_server_serves_once_every_model_was_tried_and_one_is_ready():
    catalog = Catalog()
    catalog.put_status(ModelStatus("cats", 1, reason="broken"))
    catalog.put_ready(served("faces", 1))
    assert catalog.is_serving("") is False
    catalog.settle()
    assert catalog.is_serving("") is True
    assert catalog.is_serving("faces") is True
    assert catalog.is_serving("cats") is False
    assert catalog.is_serving("dogs") is None


async def test_a_server_without_a_ready_model_does_not_serve():
    assert catalog_of(failed=("cats", 1, "broken")).is_serving("") is False


async def test_a_slow_watcher_still_hears_the_end():
    catalog = catalog_of(("faces", 1))
    states = catalog.states("faces")
    assert await anext(states) is True
    catalog.drain()  # while the watcher is busy with what it heard
    assert [state async for state in states] == [False]


async def test_watchers_hear_each_change_once_and_the_end():
    catalog = Catalog()
    catalog.put_status(ModelStatus("faces", 1))
    heard: list[Any] = []

    async def watch() -> None:
        async for state in catalog.states("faces"):
            heard.append(state)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    catalog.put_status(ModelStatus("cats", 1))  # somebody else's change
    await asyncio.sleep(0)
    catalog.put_ready(served("faces", 1))
    await asyncio.sleep(0)
    catalog.drain()
    await watching
    assert heard == [False, True, False]
