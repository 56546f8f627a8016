"""The run of a job on a cluster: what the workers find, put into the journal and handed on in the sources' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing

from serving.batch.errors import JobError
from serving.batch.on_ray.chunks import Found
from serving.batch.on_ray.pool import RayPool
from serving.batch.outcome import Outcome, Row
from serving.batch.work import Consume, Work
from serving.threads import Threads


class RayJob:
    """See ``Running``. The workers read, compute and draw; this process alone writes journal and outputs."""

    def __init__(self, pool: RayPool, work: Work) -> None:
        self.computed = 0
        self._pool, self._work = pool, work
        # Failures that do not last are not in the journal, and entries of the same content ask for them.
        self._passing: dict[str, Outcome] = {}
        self._waiting: deque[Found] = deque()
        self._stopped = False

    async def run(self, consume: Consume) -> None:
        """See ``Running``; to be called once."""
        scribe = Threads(1, name="commit")
        try:
            await scribe.run(self._to_end, consume)
        finally:
            self._stopped = True
            scribe.close()

    def _to_end(self, consume: Consume) -> None:
        with closing(self._pool.found(self._work)) as chunks:
            for chunk in chunks:
                if self._stopped:
                    return
                self._keep(chunk)
                if rows := list(self._ready()):
                    consume(rows)
        if self._waiting:
            raise JobError(
                f"{self._waiting[0].ticket.entry.text} must stay as it is while the job runs, "
                "it changed: give the same command again"
            )

    def _keep(self, chunk: Sequence[Found]) -> None:
        """Commit what the workers have computed, even where an earlier row is still to come."""
        fresh = [_row(found, found.outcome) for found in chunk if found.outcome is not None]
        self.computed += sum(bool(row.outcome.sha256) for row in fresh)
        self._passing |= {
            row.outcome.sha256: row.outcome for row in fresh if row.outcome.failure and not row.outcome.failure.lasting
        }
        if fresh:
            self._work.journal.commit(fresh)
        self._waiting.extend(chunk)

    def _ready(self) -> Iterator[Row]:
        """The next rows in order, up to one whose content another entry's worker has not answered yet."""
        while self._waiting:
            found = self._waiting[0]
            outcome = found.outcome or self._passing.get(found.sha256) or self._work.journal.find(found.sha256)
            if outcome is None:
                return
            self._waiting.popleft()
            yield _row(found, outcome)


def _row(found: Found, outcome: Outcome) -> Row:
    ticket = found.ticket
    return Row(ticket.index, ticket.position, ticket.entry, outcome)
