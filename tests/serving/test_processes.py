"""``--processes``: one pair of ports, one set of metrics, one health, whatever happens to a process."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.app import ListeningServer
from serving.client import VisionClient
from tests.serving.servers import PATIENCE_S

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Running:
    """A supervisor that serves."""

    process: subprocess.Popen[str]
    grpc: str
    http: str
    pids: tuple[int, ...]

    def wait_for(self, word: str) -> str:
        """The next line that it says with this word in it."""
        while line := self.process.stdout.readline():
            if word in line:
                return line
        raise AssertionError(f"it ended before it said {word!r}: {self.process.stderr.read()}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with OPENER.open(f"http://{self.http}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def running(repository: Path, *, processes: int) -> Iterator[Running]:
    command = [sys.executable, "-m", "ocella", "serve", "--models", str(repository), "--processes", str(processes)]
    with subprocess.Popen(
        [*command, "--port", "0", "--http-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            pids, ready, addresses = [], 0, None
            while ready < processes:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                if match := re.match(r"process \d+ \(pid (\d+)\): gRPC on (\S+), HTTP on (\S+)", line):
                    pids.append(int(match[1]))
                    addresses = match[2], match[3]
                ready += ": ready: " in line
            yield Running(process, *addresses, tuple(pids))
        finally:
            process.kill()


def answered(metrics: str) -> float:
    found = re.findall(r'^ocella_requests_total\{code="OK",method="Predict",model="classes".*\} (\S+)$', metrics, re.M)
    return sum(map(float, found))


def test_processes_share_ports_counts_and_health_and_one_that_dies_is_started_again(
    repository: Path, photos: list[bytes]
):
    with running(repository, processes=2) as server:
        assert len(set(server.pids)) == 2
        status, body = server.get("/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "models_ready": 4, "models_not_ready": 0})
        for _ in range(8):  # a connection each, so that both processes are likely to answer some
            with VisionClient(server.grpc, timeout_s=PATIENCE_S) as client:
                client.predict("classes", photos[0])
        assert answered(server.get("/metrics")[1]) == 8
        assert 'ocella_model_ready{model="classes",version="1"} 1.0' in server.get("/metrics")[1].splitlines()

        os.kill(server.pids[0], signal.SIGKILL)
        said = server.wait_for(": gRPC on ")  # the new process listens; it is not ready yet
        assert str(server.pids[0]) not in said
        server.wait_for(": ready: ")
        assert server.get("/readyz")[0] == 200
        assert answered(server.get("/metrics")[1]) == 8  # what the dead one counted is not lost
        assert server.get("/healthz") == (200, "ok\n")

        server.process.send_signal(signal.SIGTERM)
        _, errors = server.process.communicate(timeout=PATIENCE_S)
        assert server.process.returncode == 0
        assert f"(pid {server.pids[0]}) ended by SIGKILL, it is started again" in errors
        assert "Traceback" not in errors


@pytest.mark.slow
def test_processes_end_with_their_supervisor(repository: Path):
    with running(repository, processes=2) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        for pid in server.pids:
            wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours; a zombie counts as gone."""
    handle = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([handle], [], [], PATIENCE_S)
        assert ended, f"process {pid} goes on"
    finally:
        os.close(handle)


@pytest.mark.slow
def test_a_supervisor_whose_processes_cannot_start_says_so_and_ends(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "ocella", "serve", "--models", str(tmp_path / "empty"), "--processes", "2"]
    done = subprocess.run(
        [*command, "--port", "0", "--http-port", "0"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert re.search(r"^error: process \d of 2 ended with code 1 before it was ready", done.stderr, re.M)
    assert "holds no package" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_is_refused_before_any_process_starts(repository: Path, shared_server: ListeningServer):
    port = shared_server.grpc_address.rpartition(":")[2]
    command = [sys.executable, "-m", "ocella", "serve", "--models", str(repository), "--processes", "2"]
    done = subprocess.run(
        [*command, "--port", port, "--http-port", "0"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 must be free for gRPC" in done.stderr
