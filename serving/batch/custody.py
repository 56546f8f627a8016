"""Computes contents in this process so that one on which it dies does not stop the next run, too."""

from __future__ import annotations

from contextlib import ExitStack

from serving.batch.compute import Computer
from serving.batch.content import Content, Finisher
from serving.batch.engine import Engine
from serving.batch.outcome import Outcome
from serving.batch.sandbox import Order, Sandbox
from serving.batch.work import Work
from serving.batch.working import Working


class Custody:
    """To be closed; what was in work when the process before died is computed in a process of its own."""

    def __init__(self, engine: Engine, finisher: Finisher, work: Work) -> None:
        """Raises JobError, OSError."""
        with ExitStack() as opened:
            self._working = opened.enter_context(Working(work.private / "working", slots=engine.concurrency))
            work.journal.suspect([sha256 for sha256 in self._working.left if work.journal.find(sha256) is None])
            self._working.clear()
            self._suspects = work.journal.suspects() if engine.package else frozenset[str]()
            order = Order(engine.package, work.options, work.overlays) if engine.package else None
            sandbox = opened.enter_context(Sandbox(order)) if order else None
            self._compute = Computer(engine, finisher, sandbox)
            self._scope = opened.pop_all()

    async def __call__(self, content: Content) -> Outcome:
        """The outcome of a content; raises JobError."""
        if content.sha256 in self._suspects:
            return await self._compute(content, suspect=True)
        with self._working.on(content.sha256):
            return await self._compute(content)

    def close(self) -> None:
        """End the process of its own, if one was begun."""
        self._scope.close()
