"""Gathers the rows of concurrent requests into runs, and ends runs that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from serving.admission import Admission, Bounds, Place
from serving.estimate import ServiceTimes
from serving.executor import Parts, Run
from serving.rows import PartOutputs, Rows
from serving.waiting import Entry, UnderWay, Waiting

T = TypeVar("T")
MAX_BYTES = 256 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BatchPolicy:
    """How rows become batches.

    Attributes:
        slots: batches that run at once.
        max_size: most rows in a batch.
        max_delay_ms: longest time that a row waits for others while a slot is free.
        max_queue: rows that may be inside beyond the ``slots * max_size`` that can run.
        max_queue_bytes: of encoded images and tensors that may be inside.
        group_size: images for which one run thread does everything, from their bytes to their answers, in one run; see
            ``serving.whole_images``. 0: their rows come from pixel threads and share runs as those of tensors do.
        shrink_idle_s: give the memory that runs took back once no request was inside for so long; ``None``: keep it.
    """

    slots: int
    max_size: int
    max_delay_ms: float
    max_queue: int
    max_queue_bytes: int = MAX_BYTES
    group_size: int = 0
    shrink_idle_s: float | None = None

    @property
    def capacity(self) -> int:
        """Most rows that may be inside."""
        return self.slots * self.max_size + self.max_queue


class RunsBatches(Protocol):
    """What runs batches; see ``serving.executor.Executor``."""

    def submit(self, parts: Sequence[Rows], run: Run) -> asyncio.Future[Parts]:
        """Run parts of one batch key together."""
        ...

    def call(self, job: Callable[[Run], T], run: Run) -> asyncio.Future[T]:
        """Do on a run thread what holds a run in its middle."""
        ...

    def shrink(self) -> asyncio.Future[None] | None:
        """Give back the memory that runs took; ``None`` where there is nothing to give."""
        ...


class RunMeter(Protocol):
    """Told of each run; see ``serving.metrics.ModelMeter``."""

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool, padding: int) -> None:
        """A run is over.

        Args:
            rows: of requests.
            seconds: that it took.
            wasted_s: of those, by the share of its rows that nobody waits for any more.
            terminated: whether it was ended before its end.
            padding: rows that it computed beside them.
        """
        ...


class Batcher:
    """The queue in front of one model version; it belongs to one event loop.

    Work-conserving: whatever waits leaves when a slot is free, split evenly between the free slots, so that a batch
    forms only while the slots are busy. Rows of one shape batch together, whatever the size of their images; shapes
    take turns.

    Attributes:
        policy: as given.
        admission: holds the places.
        times: what its stages take.
    """

    def __init__(self, executor: RunsBatches, policy: BatchPolicy, *, meter: RunMeter, pixel_threads: int = 1) -> None:
        """``pixel_threads`` prepare images for it; made inside the loop that it belongs to."""
        self.policy = policy
        self.times = ServiceTimes(
            slots=policy.slots,
            max_size=policy.max_size,
            pixel_threads=pixel_threads,
            whole_images=policy.group_size > 0,
        )
        self._loop = asyncio.get_running_loop()
        # The next batch of each slot, and one image in each pixel thread.
        window = policy.slots * policy.max_size + pixel_threads
        bounds = Bounds(rows=policy.capacity, bytes=policy.max_queue_bytes, window=window)
        self.admission = Admission(bounds, self.times, clock=self._loop.time)
        self._executor = executor
        self._meter = meter
        self._waiting = Waiting(self.times, max_size=policy.max_size, max_delay_s=policy.max_delay_ms / 1000)
        self._free_slots = policy.slots
        self._dispatch_due = False
        self._last_run = -math.inf
        self._shrink_due = False

    @property
    def inside(self) -> int:
        """Rows that hold a place."""
        return self.admission.inside

    @property
    def queue_depth(self) -> int:
        """Rows that wait for a slot."""
        return self._waiting.rows

    async def run(self, rows: Rows, place: Place) -> PartOutputs:
        """Run rows, at most ``max_size``, inside some batch.

        Dropped before its run where the place's deadline leaves too little time for one, with DeadlineExceededError,
        or where the caller is cancelled. A batch that fails fails each of its rows with the same error, and no other.
        """
        answer: asyncio.Future[PartOutputs] = self._loop.create_future()
        entry = Entry(rows, place, answer, self._loop.time())
        self._waiting.push(entry)
        place.waiter = answer
        self._dispatch_soon()
        try:
            return await answer
        except BaseException:
            self._forget(entry)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen: it came in the same turn of the loop as a cancellation
            raise

    @property
    def is_idle(self) -> bool:
        """Whether a slot is free and nothing is on its way to it: then an image on a run thread takes nobody's turn."""
        return bool(
            self._free_slots > 0
            and not self._waiting
            and not self.admission.in_window
            and not self.policy.max_delay_ms
            and not self._dispatch_due
        )

    def hold_slot(self, job: Callable[[Run], T], run: Run) -> asyncio.Future[T]:
        """Do on a run thread what holds a slot from now until its end; who calls it counts the run."""
        done = self._executor.call(job, run)
        self._free_slots -= 1
        done.add_done_callback(self._slot_free)
        return done

    def count(self, run: Run, rows: int, *, wasted_share: float, failed: bool) -> None:
        """Count a run of so many rows, a part of which nobody waited for at its end; nothing where it never began."""
        if not run.seconds:
            return
        if not failed:
            self.times.ran(rows, run.seconds, now=self._loop.time())
        wasted_s, terminated = run.seconds * wasted_share, failed and run.terminated
        self._meter.ran(rows, run.seconds, wasted_s=wasted_s, terminated=terminated, padding=run.padding)

    def _dispatch_soon(self) -> None:
        """Dispatch after the rows that arrive in this turn of the loop, so that they are split as one."""
        if not self._dispatch_due:
            self._dispatch_due = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatch_due = False
        now = self._loop.time()
        while self._free_slots > 0 and self._waiting:
            bucket = self._waiting.due(now)
            if bucket is None:
                self._loop.call_at(self._waiting.next_due(), self._dispatch_soon)
                return
            batch = self._waiting.take(bucket, now, free_slots=self._free_slots)
            if batch:
                self._start(batch)

    def _start(self, batch: Sequence[Entry]) -> None:
        self._free_slots -= 1
        under_way = UnderWay(len(batch))
        for entry in batch:
            entry.under_way = under_way
            entry.place.waiter = None
            self.admission.started(entry.place, entry.rows.count)
        done = self._executor.submit([entry.rows for entry in batch], under_way.run)
        done.add_done_callback(self._slot_free)
        done.add_done_callback(partial(self._finish, batch, under_way.run))

    def _finish(self, batch: Sequence[Entry], run: Run, done: asyncio.Future[Parts]) -> None:
        rows = _count(batch)
        gone = sum(entry.rows.count for entry in batch if entry.answer.done())
        error = None if done.cancelled() else done.exception()
        self.count(run, rows, wasted_share=gone / rows, failed=error is not None or done.cancelled())
        for i, entry in enumerate(batch):
            self.admission.ended(entry.place, entry.rows.count)
            if entry.answer.done():
                continue
            if done.cancelled():
                entry.answer.cancel()
            elif error is not None:
                entry.answer.set_exception(error)
            else:
                entry.answer.set_result(PartOutputs(done.result()[i], run.seconds))

    def _slot_free(self, _: object) -> None:
        self._free_slots += 1
        if self._waiting:
            self._dispatch_soon()
        if self.policy.shrink_idle_s is not None:
            self._last_run = self._loop.time()
            self._shrink_later(self.policy.shrink_idle_s)

    def _shrink_later(self, seconds: float) -> None:
        """Look once more after so long, unless that is due anyway."""
        if not self._shrink_due:
            self._shrink_due = True
            self._loop.call_later(seconds, self._shrink_if_idle)

    def _shrink_if_idle(self) -> None:
        self._shrink_due = False
        assert self.policy.shrink_idle_s is not None
        if self.inside:
            return  # the end of its run looks again
        left_s = self._last_run + self.policy.shrink_idle_s - self._loop.time()
        if left_s > 0:
            self._shrink_later(left_s)
        elif (done := self._executor.shrink()) is not None:
            self._free_slots -= 1
            done.add_done_callback(self._shrunk)

    def _shrunk(self, done: asyncio.Future[None]) -> None:
        self._free_slots += 1
        if self._waiting:
            self._dispatch_soon()
        if not done.cancelled() and (error := done.exception()):
            _log.warning("the memory of runs was not given back: %s", error)

    def _forget(self, entry: Entry) -> None:
        """Its caller is gone: take it out of the queue, or out of those that wait for its run."""
        if entry.under_way is not None:
            entry.under_way.one_left()
            return
        self._waiting.remove(entry)


def _count(batch: Iterable[Entry]) -> int:
    """Rows of all of them."""
    return sum(entry.rows.count for entry in batch)
