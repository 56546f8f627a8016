import subprocess
import sys
from pathlib import Path

import cv2

from serving.app import ListeningServer
from tests.examples.conftest import MODEL

ROOT = Path(__file__).parents[2]
NOBODY = "127.0.0.1:1"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.folder", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_each_picture_has_its_line_and_overlay_and_a_broken_one_its_error(
    detector: ListeningServer, pictures: Path, tmp_path: Path
):
    done = run(MODEL, pictures, "--server", detector.grpc_address, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("broken.jpg: ImageDecodeError: ")
    assert done.stderr.count("\n") == 1
    *lines, last = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["astronaut.PNG", "coffee.PNG"]
    assert last.startswith("2 of 3 images answered")
    for name in ("astronaut", "coffee"):
        overlay = cv2.imread(str(tmp_path / "out" / f"{name}.png"))
        assert overlay is not None
        assert overlay.shape == (100, 150, 3)


def test_no_server_and_no_folder_are_one_line_each(detector: ListeningServer, tmp_path: Path):
    for words in (
        ("cats", tmp_path, "--server", detector.grpc_address),
        (MODEL, tmp_path / "none", "--server", detector.grpc_address),
    ):
        done = run(*words, "--out", tmp_path / "out")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
