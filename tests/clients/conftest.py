"""A server for each client with everything allowed, and the pictures that clients in other processes send to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.app import ListeningServer
from tests.builders import classification_head, detection_head, embedding_head, segmentation_head
from tests.graphs import classifier_graph, embedder_graph, heatmap_graph, segmenter_graph
from tests.packages import make_package, photo, png
from tests.serving.oip.models import ECHO, serve_echo
from tests.serving.servers import Offline, server_in_thread

SIZES_WH = ((300, 200), (97, 161))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages by model; ``echo`` is to be run by another graph."""
    root = tmp_path_factory.mktemp("repository")
    heads = {
        "classes": (classifier_graph(), classification_head()),
        "things": (heatmap_graph(), detection_head()),
        "masks": (segmenter_graph(), segmentation_head()),
        "vectors": (embedder_graph(), embedding_head()),
        ECHO: (classifier_graph(), classification_head()),
    }
    for name, (graph, head) in heads.items():
        make_package(root / name / "1", graph=graph, head=head, name=name)
    return {name: root / name / "1" for name in heads}


@pytest.fixture(scope="session")
def offline(folders: dict[str, Path]) -> Offline:
    return Offline(folders)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos of two sizes as PNG files."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i}.png" for i in range(len(SIZES_WH))]
    for path, size in zip(paths, SIZES_WH, strict=True):
        path.write_bytes(png(photo(size_wh=size)))
    return paths


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListeningServer]:
    with pytest.MonkeyPatch.context() as patch:
        serve_echo(patch, tmp_path_factory.mktemp("echo"))
        with server_in_thread(folders[ECHO].parent.parent, admin=True, allow_shared_memory=True) as server:
            yield server
