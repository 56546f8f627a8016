"""A job in a process of its own that kills itself at one point: run as ``python -m tests.serving.batch.killed``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.batch import job, journal, outputs
from serving.batch.journal import Journal
from tests.serving.batch.jobs import FakeEngine
from tests.serving.batch.jobs import run as run_job

FORMATS = ("jsonl", "csv", "parquet", "coco", "yolo", "masks-png", "masks-rle")
POINTS = (
    "asked:5",
    "before a commit:2",
    "inside a commit:2",
    "after a commit:3",
    "before a publish:1",
    "after a publish:2",
    "after a publish:9",
)


def nth(point: str, call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """``call``, and a kill before or after its n-th time; nothing is flushed, closed or unlocked."""
    left = [int(point.rpartition(":")[2])]

    def counted(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments, **named)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted


def arm(point: str, engine: FakeEngine) -> None:
    """Let this process die at ``point``."""
    kind = point.partition(":")[0]
    if kind == "asked":
        engine.answer = nth(point, engine.answer)  # type: ignore[method-assign]
    elif kind == "inside a commit":
        begun = nth(point, lambda: None)
        connect = journal.sqlite3.connect

        def traced(*arguments: Any, **named: Any) -> Any:
            database = connect(*arguments, **named)
            database.set_trace_callback(lambda statement: begun() if statement == "COMMIT" else None)
            return database

        journal.sqlite3.connect = traced
    elif kind.endswith("a commit"):
        Journal.commit = nth(point, Journal.commit, after=kind.startswith("after"))  # type: ignore[method-assign]
    else:
        outputs.publish = nth(point, outputs.publish, after=kind.startswith("after"))


def main(point: str, folder: str, out: str) -> None:
    job.COMMIT_ROWS = 8
    engine = FakeEngine()
    arm(point, engine)
    run_job(Path(out), Path(folder), engine=engine, formats=FORMATS, draw=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
