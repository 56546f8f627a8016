"""``ocella serve --ray`` as a command of its own: a cluster from its first line to the signal that ends it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from serving.client import VisionClient
from tests.packages import edit_manifest, make_package
from tests.serving.ray.clusters import choose
from tests.serving.servers import PATIENCE_S

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "ocella", "serve", "--ray", "--port", "0", "--http-port", "0", "--models"]


def test_a_cluster_of_its_own_serves_until_it_is_told_to_stop(tmp_path: Path, photos: list[bytes]):
    make_package(tmp_path / "cats" / "1", name="cats")
    choose(tmp_path, "cats", 1)
    with subprocess.Popen(
        [*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address, _, http = process.stdout.readline().removeprefix("gRPC on ").partition(", HTTP on ")
            assert http, process.stderr.read()
            assert process.stdout.readline() == "ready: cats 1\n"
            with VisionClient(address, timeout_s=PATIENCE_S) as client:
                assert client.predict("cats", photos[0]).version == 1
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=2 * PATIENCE_S)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, "stopping\n")
    assert "Traceback" not in errors


def test_where_no_model_loads_the_command_says_why_and_fails(tmp_path: Path):
    folder = make_package(tmp_path / "cats" / "1", name="cats")
    edit_manifest(folder, lambda raw: raw["labels"].reverse(), reseal=False)
    choose(tmp_path, "cats", 1)
    done = subprocess.run(
        [*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=5 * PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: no model could be loaded: cats: ")
    assert "recipe changed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
