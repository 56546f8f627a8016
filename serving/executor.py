"""Runs batches of one graph on threads of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.session import GraphSession, RunControl
from pipelines.types import AnyArray
from serving.rows import Rows, join_feeds, part_outputs, wanted_outputs
from serving.threads import Threads


@dataclass(frozen=True, eq=False, slots=True)
class BatchOutputs:
    """What one run gave.

    Attributes:
        parts: the outputs, batch axis first, of each part that went in.
        seconds: that the run took.
    """

    parts: list[dict[str, AnyArray]]
    seconds: float


class Executor:
    """One session shared by ``slots`` threads: so many batches run at once."""

    def __init__(self, session: GraphSession, *, slots: int, name: str) -> None:
        self.slots = slots
        self._session = session
        self._threads = Threads(slots, name=f"run-{name}")

    def submit(self, parts: Sequence[Rows], control: RunControl) -> asyncio.Future[BatchOutputs]:
        """Run parts of one batch key together; the future fails with ModelRunError or whatever the session raises."""
        return self._threads.run(self._run, parts, control)

    def _run(self, parts: Sequence[Rows], control: RunControl) -> BatchOutputs:
        start = time.monotonic()
        outputs = self._session.run(join_feeds(parts), outputs=wanted_outputs(parts), control=control)
        return BatchOutputs(part_outputs(outputs, parts), time.monotonic() - start)

    def abandon(self, error: BaseException) -> int:
        """Fail every run, under way or to come, with ``error``; returns how many threads hang in one."""
        return self._threads.abandon(error)

    def close(self) -> None:
        """Start no further run; one that hangs is left behind."""
        self._threads.close()
