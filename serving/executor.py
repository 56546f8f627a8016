"""Runs batches of one graph on threads of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.session import Session, split_rows
from pipelines.types import AnyArray
from serving.threads import Threads


@dataclass(frozen=True, eq=False)
class BatchOutputs:
    """What one run gave.

    Attributes:
        rows: one mapping of outputs, without batch axis, for each row that went in.
        seconds: that the run took.
    """

    rows: list[dict[str, AnyArray]]
    seconds: float


class Executor:
    """One session shared by ``slots`` threads: so many batches run at once."""

    def __init__(self, session: Session, *, slots: int, name: str) -> None:
        self.slots = slots
        self._session = session
        self._input = session.inputs[0].name
        self._threads = Threads(slots, name=f"run-{name}")

    def submit(self, rows: Sequence[AnyArray]) -> asyncio.Future[BatchOutputs]:
        """Run rows of one shape as a batch; the future fails with ModelRunError or whatever the session raises."""
        return self._threads.run(self._run, rows)

    def _run(self, rows: Sequence[AnyArray]) -> BatchOutputs:
        start = time.monotonic()
        batch = rows[0][np.newaxis] if len(rows) == 1 else np.stack(rows)
        outputs = self._session.run({self._input: batch})
        return BatchOutputs(split_rows(outputs, expected_rows=len(rows)), time.monotonic() - start)

    def close(self) -> None:
        """Start no further run; one that hangs is left behind."""
        self._threads.close()
