"""Runs batches of one graph on threads of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipelines.errors import RunTerminatedError
from pipelines.session import GraphSession, RunControl
from pipelines.types import AnyArray
from serving.rows import Join, Rows, join_arrays, join_feeds, part_outputs, wanted_outputs
from serving.threads import Threads

T = TypeVar("T")
Parts = list[dict[str, AnyArray]]


class Run(RunControl):
    """One run of a graph.

    Attributes:
        seconds: that the graph ran, whether it answered or failed; 0 before its end.
        padding: rows that it computed beside those of requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.padding = 0


class Executor:
    """One session shared by ``slots`` threads: so many batches run at once.

    Attributes:
        slots: threads.
        spare: batches of whole images that no run holds; ``shrink`` lets go of them.
    """

    def __init__(self, session: GraphSession, *, slots: int, name: str, shrinks: bool = False) -> None:
        """``shrinks``: ``shrink`` will be called; the latest rows are kept for it."""
        self.slots = slots
        self._session = session
        # Where copies to a device are worth it the session has memory of its own for batches.
        self._join: Join = getattr(session, "join", join_arrays)
        self._padding: Callable[[int], int] | None = getattr(session, "padding", None)
        self._shrinks = shrinks
        self.spare: list[AnyArray] = []
        self._latest: Rows | None = None
        self._threads = Threads(slots, name=f"run-{name}")

    def submit(self, parts: Sequence[Rows], run: Run) -> asyncio.Future[Parts]:
        """Run parts of one batch key together; gives the outputs, batch axis first, of each part.

        The future fails with RunTerminatedError, ModelRunError or whatever the session raises.
        """
        return self._threads.run(self.run, parts, run)

    def call(self, job: Callable[[Run], T], run: Run) -> asyncio.Future[T]:
        """Do on a run thread what holds a run in its middle; ``job`` calls ``self.run``.

        The future fails with RunTerminatedError, and nothing is done, where the run was ended before its turn.
        """
        return self._threads.run(_unless_ended, job, run)

    def run(self, parts: Sequence[Rows], run: Run) -> Parts:
        """As ``submit``, in the caller's own thread."""
        _check_wanted(run)
        if self._shrinks:
            self._latest = parts[0]
        feeds, names = join_feeds(parts, self._join), wanted_outputs(parts)
        start = time.monotonic()
        try:
            outputs = self._session.run(feeds, outputs=names, control=run)
        finally:
            run.seconds = time.monotonic() - start
        if self._padding is not None:
            run.padding = self._padding(sum(part.count for part in parts))
        return part_outputs(outputs, parts)

    def run_rows(self, name: str, outputs: tuple[str, ...], rows: AnyArray, run: Run) -> dict[str, AnyArray]:
        """As ``run``, of rows for the graph's one input ``name``, batch axis first."""
        return self.run([Rows({name: rows}, len(rows), outputs)], run)[0]

    def shrink(self) -> asyncio.Future[None] | None:
        """Give the arena's memory back to the process by one more run, of the latest rows; ``None``: none ran since."""
        rows, self._latest = self._latest, None
        self.spare.clear()
        return None if rows is None else self._threads.run(self._run_and_shrink, rows)

    def _run_and_shrink(self, rows: Rows) -> None:
        self._session.run(rows.feeds, outputs=rows.outputs, control=RunControl(shrink_arena=True))

    def keep_apart(self, *, apart: bool) -> None:
        """Keep the run threads on a core each, see ``Threads.keep_apart``."""
        self._threads.keep_apart(apart=apart)

    def abandon(self, error: BaseException) -> int:
        """Leave runs that hang behind, see ``Threads.abandon``."""
        self._latest = None
        return self._threads.abandon(error)

    def close(self) -> None:
        """Start no further run; one that hangs is left behind."""
        self._latest = None
        self._threads.close()


def _unless_ended(job: Callable[[Run], T], run: Run) -> T:
    _check_wanted(run)
    return job(run)


def _check_wanted(run: Run) -> None:
    if run.terminated:
        raise RunTerminatedError("the run did not begin: nobody waited for it any more")
