"""Asks a server again and again until it stops, and says how that was: run beside a container by its proof."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.errors import DrainingError, OcellaError, ServiceUnavailableError
from serving.client import VisionClient


def ask_until_stopped(server: str, model: str, image: bytes) -> str:
    """The name of the error that ended the answers; says "asking" on standard output once the first has come."""
    with VisionClient(server, retry=None) as client:
        client.predict(model, image)
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        try:
            while True:
                client.predict(model, image)
        except (DrainingError, ServiceUnavailableError):
            return "stopped"
        except OcellaError as error:
            return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.stdout.write(ask_until_stopped(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()) + "\n")
