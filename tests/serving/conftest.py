"""One repository of small real models, photos of many sizes, and servers over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pipelines.specs import StretchToMultiple
from serving import event_loop
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, VisionClient
from tests.builders import classification_head, detection_head, embedding_head, image_spec, segmentation_head
from tests.graphs import classifier_graph, embedder_graph, heatmap_graph, segmenter_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import Offline, running_server, server_in_thread

SIZES_WH = ((300, 200), (64, 80), (161, 97), (97, 161), (320, 240))
NAMES = ("astronaut", "chelsea", "coffee")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Everything here runs on the loop that servers run on."""
    return {"own": event_loop.LOOP or asyncio.new_event_loop}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages by model; ``things`` runs at a size that follows the image's, the others at one size."""
    root = tmp_path_factory.mktemp("repository")
    near_own_size = image_spec(
        fit=StretchToMultiple(
            kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=None, max_longer=None
        )
    )
    make_package(root / "classes" / "1", graph=classifier_graph(), head=classification_head(), name="classes")
    make_package(
        root / "things" / "1", graph=heatmap_graph(), head=detection_head(), image=near_own_size, name="things"
    )
    make_package(root / "masks" / "1", graph=segmenter_graph(), head=segmentation_head(), name="masks")
    make_package(root / "vectors" / "1", graph=embedder_graph(), head=embedding_head(), name="vectors")
    return {name: root / name / "1" for name in ("classes", "things", "masks", "vectors")}


@pytest.fixture(scope="session")
def repository(folders: dict[str, Path]) -> Path:
    return folders["classes"].parent.parent


@pytest.fixture(scope="session")
def offline(folders: dict[str, Path]) -> Offline:
    return Offline(folders)


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """PNG files of real photos, no two of one size in a row."""
    return [png(photo(name, size_wh=size)) for name in NAMES for size in SIZES_WH]


@pytest.fixture
async def server(repository: Path) -> AsyncIterator[ListeningServer]:
    async with running_server(repository) as server:
        yield server


@pytest.fixture
async def client(server: ListeningServer) -> AsyncIterator[AsyncVisionClient]:
    async with AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        yield client


@pytest.fixture(scope="session")
def shared_server(repository: Path) -> Iterator[ListeningServer]:
    """A server for tests of blocking code that leave nothing behind."""
    with server_in_thread(repository) as server:
        yield server


@pytest.fixture
def blocking_client(shared_server: ListeningServer) -> Iterator[VisionClient]:
    with VisionClient(shared_server.grpc_address, timeout_s=60) as client:
        yield client
