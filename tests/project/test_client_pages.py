"""What the pages for users of the clients show works as shown."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ocella
import pipelines.draw
import pipelines.errors
from pipelines.errors import InvalidRequestError, OcellaError
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, VisionClient
from serving.client.errors import BY_CODE, BY_REASON
from tests.builders import detection_head
from tests.graphs import heatmap_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import server_in_thread

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
COMING_FROM = (ROOT / "docs" / "coming-from.md").read_text()
SHOWN = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CURL = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("curl")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A detector under the name that the pages use."""
    folder = tmp_path_factory.mktemp("repository") / "centerface" / "1"
    make_package(folder, graph=heatmap_graph(), head=detection_head(), name="centerface")
    with server_in_thread(folder) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pages' commands run: the pictures that they name."""
    (tmp_path / "examples" / "images").mkdir(parents=True)
    (tmp_path / "photo.jpg").write_bytes(png(photo("astronaut", size_wh=(150, 100))))
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "examples" / "images" / "astronaut.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_snippet_runs_and_prints_boxes(
    server: ListeningServer, folder: Path, capsys: pytest.CaptureFixture[str]
):
    exec(compile(SHOWN[0].replace("127.0.0.1:8001", server.grpc_address), "clients.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[")


def test_the_snippet_of_tls_is_right_but_for_the_files_that_it_names(folder: Path):
    with pytest.raises(InvalidRequestError, match=r"ca\.pem"):
        exec(compile(SHOWN[1], "clients.md", "exec"), {})


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("index", range(len(CURL)))
def test_each_curl_command_works_as_shown(server: ListeningServer, folder: Path, index: int):
    command = CURL[index].replace("127.0.0.1:8000", server.http_address)
    done = subprocess.run(["sh", "-c", command + " --silent --fail"], capture_output=True, check=True, timeout=60)
    if "overlay.png" in command:
        assert (folder / "overlay.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert b'"task":"detection"' in done.stdout


def test_every_method_of_the_clients_is_named():
    for client in (VisionClient, AsyncVisionClient):
        own = {name for name in vars(client) if not name.startswith("_")} - {"close"}
        assert {name for name in own if f"`{name}`" not in PAGE} == set()


def test_every_error_that_the_clients_raise_is_named():
    raised = {*BY_CODE.values(), *BY_REASON.values()} - {pipelines.errors.ServerFaultError}
    faces = {pipelines.errors.FaceRefusedError, pipelines.errors.GalleryError, pipelines.errors.UnknownPersonError}
    text = PAGE + (ROOT / "docs" / "faces.md").read_text() + (ROOT / "docs" / "protocol.md").read_text()
    assert {error.__name__ for error in raised - faces if f"`{error.__name__}`" not in text} == set()


def test_every_error_that_the_page_names_exists():
    named = set(re.findall(r"`(\w+Error)`", PAGE))
    assert len(named) > 10
    assert all(issubclass(getattr(pipelines.errors, name), OcellaError) for name in named)


def test_every_call_that_the_other_page_shows_works(server: ListeningServer):
    shown = re.findall(r"`((?:client|pipelines)\.[\w.]+\(.*?\))`", COMING_FROM)
    assert {call.split("(")[0] for call in shown} == {"client.predict", "pipelines.draw.draw"}
    image = np.asarray(photo("astronaut", size_wh=(150, 100)))
    with VisionClient(server.grpc_address) as client:
        names: dict[str, Any] = {"client": client, "pipelines": pipelines, "model": "centerface", "image": image}
        for call in sorted(shown):  # predictions first
            result = eval(call, names)
            names |= {"prediction": result} if call.startswith("client") else {}
            assert call.startswith("client") or result.shape == image.shape


@pytest.mark.parametrize(("command", "option"), re.findall(r"`ocella (\w+) (--[\w-]+)", COMING_FROM))
def test_every_option_that_the_other_page_shows_exists(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, option: str
):
    monkeypatch.setenv("COLUMNS", "300")  # so that help shortens no name
    ocella.main([command, "--help"])
    assert f"{option} " in capsys.readouterr().out


def test_every_attribute_that_the_other_page_names_exists():
    from pipelines.types import Detections

    named = set(re.findall(r"`prediction\.result\.(\w+)`|`\.(scores|class_ids|labels)`", COMING_FROM))
    assert {name for pair in named for name in pair if name} <= {"boxes", "scores", "class_ids", "labels", "masks"}
    assert {name for pair in named for name in pair if name} <= set(Detections.__dataclass_fields__)
