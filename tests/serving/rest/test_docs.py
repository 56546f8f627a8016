"""The page on HTTP: each shell block runs as it stands, against a server in place of the one it names."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from serving.rest import errors
from serving.status import INTERNAL_REASON
from tests.builders import detection_head
from tests.graphs import heatmap_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import PATIENCE_S, server_in_thread

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
NAMED = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("repository")
    make_package(root / "centerface" / "1", graph=heatmap_graph(), head=detection_head(), name="centerface")
    with server_in_thread(root) as server:
        yield server.http_address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the page names."""
    picture = photo("astronaut", size_wh=(300, 200))
    (tmp_path / "other.png").write_bytes(png(picture))
    picture.save(tmp_path / "photo.jpg")
    return tmp_path


def run(block: str, address: str, folder: Path) -> str:
    assert shutil.which("curl"), "the page's examples need curl"
    script = "set -e -o pipefail\n" + block.replace(NAMED, address)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_of_the_page_runs(block: str, address: str, folder: Path):
    answer = run(block, address, folder)
    if picture := re.search(r"-o (\S+)", block):
        assert cv2.imread(str(folder / picture[1])).shape == (200, 300, 3)
    else:
        decoder, rest, count = json.JSONDecoder(), answer, 0
        while rest:
            _, end = decoder.raw_decode(rest)
            rest, count = rest[end:].lstrip(), count + 1
        assert count == block.count("curl -sf") > 0


def test_the_page_names_each_error_of_http_alone():
    named = [
        name for name, error in vars(errors).items() if isinstance(error, type) and error.__module__ == errors.__name__
    ]
    assert named
    assert [name for name in (*named, INTERNAL_REASON) if f"`{name}`" not in PAGE] == []
