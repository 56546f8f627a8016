"""The server of the soak: a process of its own, whose log goes to a file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.settings import StartError

_ADDRESSES = re.compile(r"gRPC on (\S+), HTTP on (\S+)\n")
_STOP_S = 60.0


@dataclass(frozen=True)
class SoakServer:
    """A server that answers.

    Attributes:
        grpc: ``host:port``.
        http: ``host:port``.
    """

    grpc: str
    http: str


@contextmanager
def soak_server(models: Path, log: Path) -> Iterator[SoakServer]:
    """Serve ``models`` on free ports of loopback; leaving it stops the server, whose log is whole from then on.

    Raises StartError where it does not start or does not stop by itself.
    """
    options = ("--models", str(models), "--admin", "--log-format", "json", "--log-level", "debug")
    command = (sys.executable, "-m", "ocella", "serve", "--port", "0", "--http-port", "0", *options)
    with log.open("wb") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            assert process.stdout is not None
            addresses = _ADDRESSES.fullmatch(process.stdout.readline())
            if not addresses or not process.stdout.readline().startswith("ready: "):
                raise StartError(f"the server must start, its log says {log.read_text()[-500:]!r}")
            yield SoakServer(addresses[1], addresses[2])
            process.terminate()
            if process.wait(_STOP_S) != 0:
                raise StartError(f"the server must end with code 0, it ended with {process.returncode}")
        finally:
            process.kill()
