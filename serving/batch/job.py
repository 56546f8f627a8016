"""The run of a job by one engine: every entry in order, computed at most once, kept in the journal, handed on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TypeAlias

from pipelines.errors import OcellaError
from serving.batch.content import Content, Finisher, is_whole, read
from serving.batch.custody import Custody
from serving.batch.engine import Engine
from serving.batch.entry import Entry
from serving.batch.errors import JobError
from serving.batch.feed import Drawn, Feed
from serving.batch.outcome import Outcome, Row, failure_of
from serving.batch.sampling import wants
from serving.batch.work import Consume, Work
from serving.threads import Threads

COMMIT_ROWS = 64
COMMIT_S = 0.5
READERS = 4  # waiting for a disk or a network takes no core; so many images are read before their turn
_Window: TypeAlias = "asyncio.Queue[tuple[Drawn, asyncio.Task[Outcome] | None] | None]"


@dataclass
class _Chunk:
    """Rows on their way to the journal, in order; ``fresh`` are those that it does not hold yet."""

    rows: list[Row]
    fresh: list[Row]


class Job:
    """One run. Entries are read, computed and finished in any order, committed and handed on in theirs.

    Attributes:
        computed: contents that the model answered or failed on.
    """

    def __init__(self, engine: Engine, work: Work) -> None:
        self.computed = 0
        self._engine, self._work = engine, work
        self._journal = work.journal
        self._compute = Custody(engine, Finisher(engine.decode, work.overlays), work)
        self._slots = asyncio.Semaphore(engine.concurrency + READERS)
        self._turns = asyncio.Semaphore(engine.concurrency)
        # Contents in work or not yet committed: the journal does not know them, and none is computed twice.
        self._pending: dict[str, asyncio.Future[Outcome]] = {}

    async def run(self, consume: Consume) -> None:
        """See ``Running``; to be called once."""
        readers, scribe = Threads(READERS, name="read"), Threads(1, name="commit")
        feed = Feed(self._work.sources, self._work.shard, self._known)
        window: _Window = asyncio.Queue(2 * self._engine.concurrency + COMMIT_ROWS)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._draw(feed, window, readers, tasks))
                tasks.create_task(self._write(window, scribe, consume))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            for owner in (feed, readers, scribe, self._compute):
                owner.close()

    async def _draw(self, feed: Feed, window: _Window, readers: Threads, tasks: asyncio.TaskGroup) -> None:
        """Start as many entries as the engine takes at once, and those whose images are read meanwhile."""
        async for drawn in feed:
            if drawn.known is not None:
                await window.put((drawn, None))
            else:
                await self._slots.acquire()
                await window.put((drawn, tasks.create_task(self._outcome(drawn, readers))))
        await window.put(None)

    async def _write(self, window: _Window, scribe: Threads, consume: Consume) -> None:
        """Take rows in order; while some are committed the next are computed."""
        chunk, writing, written_at = _Chunk([], []), None, time.monotonic()
        while (item := await window.get()) is not None:
            drawn, task = item
            would_wait = task is not None and not task.done() and time.monotonic() - written_at > COMMIT_S
            if len(chunk.rows) >= COMMIT_ROWS or (chunk.rows and would_wait):
                if writing is not None:
                    await writing
                writing, written_at = asyncio.ensure_future(self._commit(chunk, scribe, consume)), time.monotonic()
                chunk = _Chunk([], [])
            outcome = drawn.known if task is None else await task
            assert outcome is not None  # what is not known has a task
            row = Row(drawn.index, drawn.position, drawn.entry, outcome)
            chunk.rows.append(row)
            if task is not None:
                chunk.fresh.append(row)
        if writing is not None:
            await writing
        await self._commit(chunk, scribe, consume)

    async def _commit(self, chunk: _Chunk, scribe: Threads, consume: Consume) -> None:
        def commit() -> None:
            if chunk.fresh:
                self._journal.commit(chunk.fresh)
            consume(chunk.rows)

        await scribe.run(commit)
        for row in chunk.fresh:
            self._pending.pop(row.outcome.sha256, None)

    def _known(self, entry: Entry) -> Outcome | None:
        outcome = self._journal.known(entry.name, entry.stamp)
        return outcome if outcome and is_whole(outcome, self._work.overlays) else None

    async def _outcome(self, drawn: Drawn, readers: Threads) -> Outcome:
        """What becomes of one entry; gives its slot back."""
        try:
            content = await readers.run(read, drawn.entry, drawn.read, wants(drawn.position, self._work.total.rows))
            return await self._of(content)
        except JobError:
            raise
        except (OcellaError, OSError) as error:  # it could not be read
            return Outcome(sha256="", failure=failure_of(error, lasting=False))
        finally:
            self._slots.release()

    async def _of(self, content: Content) -> Outcome:
        """What becomes of one content: as the journal has it, or computed by the first entry that has it."""
        if content.sha256 in self._pending:
            return await asyncio.shield(self._pending[content.sha256])
        # On the loop: a look-up of 10 us, and nothing may come between it and the next line.
        known = self._journal.find(content.sha256)
        if known and is_whole(known, self._work.overlays):
            return known
        pending = self._pending[content.sha256] = asyncio.get_running_loop().create_future()
        try:
            async with self._turns:
                outcome = await self._compute(content)
        except JobError:
            pending.cancel()
            raise
        self.computed += 1
        pending.set_result(outcome)
        return outcome


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the job: the first that is one of ours, else the first."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, OcellaError | OSError)), leaves[0])
