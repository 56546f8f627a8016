"""An ``ocella serve`` of our own on loopback, for as long as a measurement takes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from serving.settings import StartError

_ADDRESSES = re.compile(r"gRPC on (\S+), HTTP on (\S+)\n")
_STOP_S = 40.0  # beyond the server's own time for what is in flight


@dataclass(frozen=True)
class OwnServer:
    """A server that answers.

    Attributes:
        grpc: ``host:port``.
        http: ``host:port``.
        pid: of its process.
        start_s: from the start of its process to the readiness of all its models.
    """

    grpc: str
    http: str
    pid: int
    start_s: float


@contextmanager
def own_server(*models: Path, options: Sequence[str] = ()) -> Iterator[OwnServer]:
    """Start ``ocella serve`` on free ports of loopback and wait until its models are ready; leaving it stops it.

    Raises StartError with the server's own words where it does not start, or where a model is not ready.
    """
    command = [sys.executable, "-m", "ocella", "serve", "--host", "127.0.0.1", "--port", "0", "--http-port", "0"]
    command += [word for model in models for word in ("--models", str(model))]
    start = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            addresses = _ADDRESSES.fullmatch(process.stdout.readline())
            readiness = process.stdout.readline() if addresses else ""
            if not addresses or not readiness.startswith("ready: "):
                process.kill()
                words = _last_line(log) or readiness.strip() or "it said nothing"
                raise StartError(f"the server did not start: {words}")
            yield OwnServer(addresses[1], addresses[2], process.pid, time.monotonic() - start)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return lines[-1] if lines else ""
