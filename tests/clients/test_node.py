"""The Node.js example through @grpc/grpc-js, in a process of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.app import ListeningServer
from serving.client import VisionClient

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "node"

pytestmark = [
    pytest.mark.slow,  # installs packages
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs node and npm (apt-get install npm)"),
]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packages that the example names."""
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(EXAMPLE / "package.json", folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder / "node_modules"


def predict(modules: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", str(EXAMPLE / "predict.js"), *map(str, words)],
        env={**os.environ, "NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_prints_the_boxes_that_python_sees(server: ListeningServer, pictures: list[Path], modules: Path):
    with VisionClient(server.grpc_address, timeout_s=60) as client:
        wanted = client.predict("things", pictures[0]).result
    done = predict(modules, server.grpc_address, "things", pictures[0])
    assert done.returncode == 0, done.stderr
    first, *rows = done.stdout.splitlines()
    assert first == "things version 1, 300x200: detections"
    assert len(rows) == len(wanted.scores) > 0
    for row, box, score in zip(rows, wanted.boxes, wanted.scores, strict=True):
        *_, shown, left, top, right, bottom = row.split()
        assert [float(shown), *map(float, (left, top, right, bottom))] == pytest.approx(
            [score, *box],
            abs=0.051,  # printed with one digit
        )


def test_it_prints_labels_and_scores(server: ListeningServer, pictures: list[Path], modules: Path):
    done = predict(modules, server.grpc_address, "classes", pictures[1])
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1


def test_a_refusal_is_one_line(server: ListeningServer, pictures: list[Path], modules: Path):
    done = predict(modules, server.grpc_address, "cats", pictures[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "cats" in done.stderr
