"""Stands in for a server process of ``--processes``: it says that it is ready, and tells counts that a file holds."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

PAUSED = "paused"


def main() -> None:
    """Answer each question with the counts of ``counts/MEMBER``; with nothing while that says ``paused``."""
    settings = json.loads(sys.stdin.readline())
    folder, member = Path(settings["member_of"]), settings["member"]
    with (folder / "started").open("a") as started:
        started.write(f"{member}\n")
    counts, path = folder / "counts" / str(member), folder / f"{member}.sock"
    path.unlink(missing_ok=True)
    held = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        print(f"gRPC on {os.getpid()}\nready: nothing", flush=True)  # noqa: T201, this is how a member announces
        while True:
            asked, _ = listener.accept()
            if (said := counts.read_text()) == PAUSED:
                held.append(asked)  # open, and never answered
                continue
            text = (
                "# TYPE ocella_requests_total counter\n"
                f"ocella_requests_total {said}\n"
                "# TYPE ocella_processes gauge\n"
                "ocella_processes 1.0\n"
            )
            told = {"alive": True, "ready": True, "models_ready": 1, "models_not_ready": 0, "metrics": text}
            with asked:
                asked.sendall(json.dumps(told).encode())


if __name__ == "__main__":
    main()
