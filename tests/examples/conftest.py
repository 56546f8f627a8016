from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.app import ListeningServer
from tests.builders import detection_head
from tests.graphs import heatmap_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import server_in_thread

MODEL = "things"


@pytest.fixture(scope="package")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListeningServer]:
    """A server with one small detector."""
    folder = tmp_path_factory.mktemp("repository") / MODEL / "1"
    make_package(folder, graph=heatmap_graph(), head=detection_head(), name=MODEL)
    with server_in_thread(folder) as server:
        yield server


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures, one that is broken, and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        (folder / f"{name}.PNG").write_bytes(png(photo(name, size_wh=(150, 100))))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("none")
    return folder
