"""Gathers the rows of concurrent requests into runs, and ends runs that nobody waits for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pipelines.errors import DeadlineExceededError
from pipelines.types import AnyArray
from serving.admission import Admission, Bounds, Place
from serving.estimate import ServiceTimes
from serving.executor import Parts, Run
from serving.fairness import FairQueue, Priority
from serving.rows import BatchKey, Rows

T = TypeVar("T")
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BatchPolicy:
    """How rows become batches.

    Attributes:
        slots: batches that run at once.
        max_size: most rows in a batch.
        max_delay_ms: longest time that a row waits for others while a slot is free.
        max_queue: rows that may be inside beyond the ``slots * max_size`` that can run.
        max_queue_bytes: of encoded images and tensors that may be inside.
        shrink_arena: give a run's memory back after a run that nothing waits behind.
    """

    slots: int
    max_size: int
    max_delay_ms: float
    max_queue: int
    max_queue_bytes: int = MAX_BYTES
    shrink_arena: bool = False

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


class RunMeter(Protocol):
    """Told of each run; see ``serving.metrics.ModelMeter``."""

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool) -> None:
        """A run is over; ``wasted_s``: its seconds by the share of its rows that nobody waits for any more."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class PartOutputs:
    """The outputs of a part's rows, batch axis first, and the seconds of the run that gave them."""

    outputs: dict[str, AnyArray]
    inference_s: float


class _Entry:
    """Rows of one place that wait, or run."""

    __slots__ = ("answer", "key", "place", "rows", "since", "under_way")

    def __init__(self, rows: Rows, place: Place, answer: asyncio.Future[PartOutputs], since: float) -> None:
        self.rows, self.place, self.answer, self.since = rows, place, answer, since
        self.key: BatchKey = rows.batch_key()
        self.under_way: _UnderWay | None = None


class _UnderWay:
    """A run under way, and how many still wait for it."""

    __slots__ = ("run", "waiting")

    def __init__(self, waiting: int, *, shrink_arena: bool) -> None:
        self.run = Run(shrink_arena=shrink_arena)
        self.waiting = waiting

    def one_left(self) -> None:
        """One of those that wait has gone; the last one ends the run."""
        self.waiting -= 1
        if self.waiting == 0:
            self.run.terminate()


class _Bucket:
    """Waiting rows that may share a run; ``since``: when it came to be or was last served."""

    __slots__ = ("queue", "rows", "since")

    def __init__(self, since: float) -> None:
        self.queue: FairQueue[_Entry] = FairQueue()
        self.rows = 0
        self.since = since


class Batcher:
    """The queue in front of one model version; it belongs to one event loop.

    Work-conserving: whatever waits leaves when a slot is free, split evenly between the free slots, so that a batch
    forms only while the slots are busy. Rows of one shape batch together, whatever the size of their images; shapes
    take turns.

    Attributes:
        policy: as given.
        admission: holds the places.
        times: what its stages take.
        queue_depth: rows that wait for a slot.
    """

    def __init__(self, executor: RunsBatches, policy: BatchPolicy, *, meter: RunMeter, pixel_threads: int = 1) -> None:
        """``pixel_threads`` prepare images for it; made inside the loop that it belongs to."""
        self.policy = policy
        self.times = ServiceTimes(slots=policy.slots, max_size=policy.max_size, pixel_threads=pixel_threads)
        self._loop = asyncio.get_running_loop()
        # The next batch of each slot, and one image in each pixel thread.
        window = policy.slots * policy.max_size + pixel_threads
        bounds = Bounds(rows=policy.capacity, bytes=policy.max_queue_bytes, window=window)
        self.admission = Admission(bounds, self.times, clock=self._loop.time)
        self.queue_depth = 0
        self._executor = executor
        self._meter = meter
        self._buckets: dict[BatchKey, _Bucket] = {}
        self._free_slots = policy.slots
        self._dispatch_due = False

    @property
    def inside(self) -> int:
        """Rows that hold a place."""
        return self.admission.inside

    async def run(self, rows: Rows, place: Place) -> PartOutputs:
        """Run rows, at most ``max_size``, inside some batch.

        Dropped before its run where the place's deadline leaves too little time for one, with DeadlineExceededError,
        or where the caller is cancelled. A batch that fails fails each of its rows with the same error, and no other.
        """
        answer: asyncio.Future[PartOutputs] = self._loop.create_future()
        entry = _Entry(rows, place, answer, self._loop.time())
        bucket = self._buckets.get(entry.key)
        if bucket is None:
            bucket = self._buckets[entry.key] = _Bucket(entry.since)
        bucket.queue.push(entry, priority=place.claim.priority, client=place.claim.client)
        bucket.rows += rows.count
        self.queue_depth += rows.count
        place.waiter = answer
        self._dispatch_soon()
        try:
            return await answer
        except BaseException:
            self._forget(entry)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen: it came in the same turn of the loop as a cancellation
            raise

    def may_run_alone(self) -> bool:
        """Whether a slot is free and nothing is on its way to it: then ``run_alone`` takes nobody's turn."""
        return bool(
            self._free_slots
            and not self._buckets
            and not self.admission.in_window
            and not self.policy.max_delay_ms
            and not self._dispatch_due
        )

    async def run_alone(self, job: Callable[[Run], T], place: Place) -> T:
        """Do everything for one image on a run thread, which saves two of three ways between threads.

        Only while ``may_run_alone``. A caller that is cancelled ends the run.
        """
        self._free_slots -= 1
        self.admission.started(place, 1)
        if place.claim.begin is not None:
            place.claim.begin()
        under_way = _UnderWay(1, shrink_arena=self.policy.shrink_arena)
        answer: asyncio.Future[T] = self._loop.create_future()
        done = self._executor.call(job, under_way.run)
        done.add_done_callback(partial(self._finish_alone, place, under_way, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            under_way.one_left()
            if answer.done() and not answer.cancelled():
                answer.exception()
            raise

    def _finish_alone(
        self, place: Place, under_way: _UnderWay, answer: asyncio.Future[T], done: asyncio.Future[T]
    ) -> None:
        self._slot_free()
        run, gone = under_way.run, answer.done()
        self.admission.ended(place, 1)
        error = None if done.cancelled() else done.exception()
        self._count(run, 1, wasted_share=float(gone), failed=error is not None or done.cancelled())
        if gone:
            return
        if done.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    def _dispatch_soon(self) -> None:
        """Dispatch after the rows that arrive in this turn of the loop, so that they are split as one."""
        if not self._dispatch_due:
            self._dispatch_due = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatch_due = False
        now = self._loop.time()
        while self._free_slots:
            bucket = self._due_bucket(now)
            if bucket is None:
                return
            batch = self._take(bucket, now)
            if batch:
                self._start(batch)

    def _due_bucket(self, now: float) -> _Bucket | None:
        """Of the buckets that need not wait for more rows the one that was served least recently, high ones first."""
        delay_s = self.policy.max_delay_ms / 1000
        if len(self._buckets) == 1 and not delay_s:
            return next(iter(self._buckets.values()))
        due, next_due = [], math.inf
        for bucket in self._buckets.values():
            oldest = min(entry.since for entry in bucket.queue.heads()) if delay_s else -math.inf
            if bucket.rows >= self.policy.max_size or oldest + delay_s <= now:
                due.append(bucket)
            next_due = min(next_due, oldest + delay_s)
        if not due:
            if next_due < math.inf:
                self._loop.call_at(next_due, self._dispatch_soon)
            return None
        return min(
            due, key=lambda bucket: (bucket.queue.peek().place.claim.priority is not Priority.HIGH, bucket.since)
        )

    def _take(self, bucket: _Bucket, now: float) -> list[_Entry]:
        """Take a batch: an even share of the bucket's rows for each free slot, without those that are too late."""
        share = min(self.policy.max_size, math.ceil(bucket.rows / self._free_slots))
        batch: list[_Entry] = []
        size = 0
        key = bucket.queue.peek().key
        while bucket.queue and (not batch or size + bucket.queue.peek().rows.count <= share):
            entry = bucket.queue.pop()
            bucket.rows -= entry.rows.count
            self.queue_depth -= entry.rows.count
            if self._is_too_late(entry, now, run_size=max(share, entry.rows.count), is_last=not bucket.queue):
                entry.answer.set_exception(DeadlineExceededError("the deadline passed while the request waited"))
            elif not entry.answer.done():
                batch.append(entry)
                size += entry.rows.count
        bucket.since = now
        if not bucket.queue:
            del self._buckets[key]
        return batch

    def _is_too_late(self, entry: _Entry, now: float, *, run_size: int, is_last: bool) -> bool:
        """Whether a run of ``run_size`` rows would hardly end in time.

        While others wait, a run that may well end too late takes the time of one that would not: then nine of ten like
        it must have been in time. For the last one the fewest seconds decide: nobody else wants them.
        """
        claim = entry.place.claim
        if claim.deadline == math.inf or entry.answer.done():
            return False
        if not self.times.is_fresh(now):
            return claim.deadline <= now
        if is_last:
            return claim.deadline <= now + self.times.least_run_s(entry.rows.count)
        return claim.deadline <= now + self.times.reliable_left_s(run_size, image=claim.image)

    def _start(self, batch: list[_Entry]) -> None:
        self._free_slots -= 1
        is_last = not self._buckets and not self.admission.waiting
        under_way = _UnderWay(len(batch), shrink_arena=self.policy.shrink_arena and is_last)
        for entry in batch:
            entry.under_way = under_way
            entry.place.waiter = None
            self.admission.started(entry.place, entry.rows.count)
        done = self._executor.submit([entry.rows for entry in batch], under_way.run)
        done.add_done_callback(partial(self._finish, batch, under_way.run))

    def _finish(self, batch: list[_Entry], run: Run, done: asyncio.Future[Parts]) -> None:
        self._slot_free()
        rows = _count(batch)
        gone = sum(entry.rows.count for entry in batch if entry.answer.done())
        error = None if done.cancelled() else done.exception()
        self._count(run, rows, wasted_share=gone / rows, failed=error is not None or done.cancelled())
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

    def _slot_free(self) -> None:
        self._free_slots += 1
        if self._buckets:
            self._dispatch_soon()

    def _count(self, run: Run, rows: int, *, wasted_share: float, failed: bool) -> None:
        if not run.seconds:  # it never began: its image was none, or everybody had left
            return
        if not failed:
            self.times.ran(rows, run.seconds, now=self._loop.time())
        self._meter.ran(rows, run.seconds, wasted_s=run.seconds * wasted_share, terminated=failed and run.terminated)

    def _forget(self, entry: _Entry) -> None:
        """Its caller is gone: take it out of the queue, or out of those that wait for its run."""
        if entry.under_way is not None:
            entry.under_way.one_left()
            return
        bucket, claim = self._buckets.get(entry.key), entry.place.claim
        if bucket is not None and bucket.queue.remove(entry, priority=claim.priority, client=claim.client):
            bucket.rows -= entry.rows.count
            self.queue_depth -= entry.rows.count
            if not bucket.queue:
                del self._buckets[entry.key]


def _count(batch: Iterable[_Entry]) -> int:
    """Rows of all of them."""
    return sum(entry.rows.count for entry in batch)
