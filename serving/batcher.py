"""Gathers the rows of concurrent requests into batches, and bounds how many requests are inside."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pipelines.errors import DeadlineExceededError, InvalidRequestError, OverloadedError
from pipelines.session import RunControl
from pipelines.types import AnyArray
from serving.executor import BatchOutputs
from serving.rows import BatchKey, Rows

_FIRST_GUESS_S = 0.05
_MIN_RETRY_S = 0.01
_NEWEST_WEIGHT = 0.2


@dataclass(frozen=True, kw_only=True)
class BatchPolicy:
    """How rows become batches.

    Attributes:
        slots: batches that run at once.
        max_size: most rows in a batch.
        max_delay_ms: longest time that a row waits for others while a slot is free.
        max_queue: requests that may be inside beyond the ``slots * max_size`` that can run.
    """

    slots: int
    max_size: int
    max_delay_ms: float
    max_queue: int

    @property
    def capacity(self) -> int:
        """Most requests that may be inside."""
        return self.slots * self.max_size + self.max_queue


@dataclass(frozen=True, eq=False)
class PartOutputs:
    """The outputs of a part's rows, batch axis first, and the seconds of the run that gave them."""

    outputs: dict[str, AnyArray]
    inference_s: float


@dataclass(frozen=True, eq=False)
class _Waiting:
    rows: Rows
    key: BatchKey
    deadline: float
    since: float
    answer: asyncio.Future[PartOutputs]


class Batcher:
    """The queue in front of one model version; it belongs to one event loop.

    Work-conserving: whatever waits leaves when a slot is free, split evenly between the free slots, so that a batch
    forms only while the slots are busy. Rows of one shape batch together, whatever the size of their images.

    Attributes:
        policy: as given.
        inside: requests that hold a place.
        queue_depth: rows that wait for a slot.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Rows], RunControl], asyncio.Future[BatchOutputs]],
        policy: BatchPolicy,
        *,
        on_batch: Callable[[int], None],
    ) -> None:
        """``execute`` runs rows of one batch key; ``on_batch`` is told the size of each batch."""
        self.policy = policy
        self.inside = 0
        self.queue_depth = 0
        self._execute = execute
        self._on_batch = on_batch
        self._buckets: dict[BatchKey, deque[_Waiting]] = {}
        self._free_slots = policy.slots
        self._dispatch_due = False
        self._row_s = _FIRST_GUESS_S

    @contextmanager
    def admit(self, rows: int = 1) -> Iterator[None]:
        """Hold the places of a request's rows, from before their decoding to their answer.

        Raises InvalidRequestError for more rows than there are places, OverloadedError where too many are taken.
        """
        if rows > self.policy.capacity:
            raise InvalidRequestError(f"a request must have at most {self.policy.capacity} rows, got {rows}")
        if self.inside + rows > self.policy.capacity:
            raise OverloadedError(
                f"at most {self.policy.capacity} requests may be inside, {self.inside} are",
                retry_after_s=self._retry_after_s(),
            )
        self.inside += rows
        try:
            yield
        finally:
            self.inside -= rows

    async def run(self, rows: Rows, *, deadline: float = math.inf) -> PartOutputs:
        """Run rows, at most ``max_size``, inside some batch; the caller holds a place.

        Dropped before its run where ``deadline`` (monotonic seconds) has passed, with DeadlineExceededError, or where
        the caller is cancelled. A batch that fails fails each of its rows with the same error, and no other.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, rows.batch_key(), deadline, time.monotonic(), loop.create_future())
        self._buckets.setdefault(waiting.key, deque()).append(waiting)
        self.queue_depth += rows.count
        self._dispatch_soon()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            self._forget(waiting)
            if waiting.answer.done() and not waiting.answer.cancelled():
                waiting.answer.exception()  # seen: it came in the same turn of the loop as the cancellation
            raise

    def _dispatch_soon(self) -> None:
        """Dispatch after the rows that arrive in this turn of the loop, so that they are split as one."""
        if not self._dispatch_due:
            self._dispatch_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatch_due = False
        now = time.monotonic()
        self._drop_expired(now)
        while self._free_slots:
            key = self._due_key(now)
            if key is None:
                return
            self._start(self._take(key))

    def _take(self, key: BatchKey) -> list[_Waiting]:
        """Take a batch out of a bucket: an even share of its rows for each free slot, ``max_size`` at most."""
        bucket = self._buckets[key]
        share = min(self.policy.max_size, math.ceil(_count(bucket) / self._free_slots))
        batch = [bucket.popleft()]
        size = batch[0].rows.count
        while bucket and size + bucket[0].rows.count <= share:
            batch.append(bucket.popleft())
            size += batch[-1].rows.count
        self.queue_depth -= size
        if not bucket:
            del self._buckets[key]
        return batch

    def _due_key(self, now: float) -> BatchKey | None:
        """The shape whose oldest row waits longest, of those that need not wait for more rows."""
        if not self._buckets:
            return None
        delay_s = self.policy.max_delay_ms / 1000
        by_age = sorted(self._buckets.items(), key=lambda item: item[1][0].since)
        for key, bucket in by_age:
            if _count(bucket) >= self.policy.max_size or now - bucket[0].since >= delay_s:
                return key
        oldest = by_age[0][1][0].since
        asyncio.get_running_loop().call_later(oldest + delay_s - now, self._dispatch_soon)
        return None

    def _start(self, batch: list[_Waiting]) -> None:
        self._free_slots -= 1
        self._on_batch(_count(batch))
        run = self._execute([waiting.rows for waiting in batch], RunControl())
        run.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: list[_Waiting], run: asyncio.Future[BatchOutputs]) -> None:
        self._free_slots += 1
        self._dispatch_soon()
        error = run.exception()
        if error is None:
            outputs = run.result()
            self._row_s += _NEWEST_WEIGHT * (outputs.seconds / _count(batch) - self._row_s)
        for i, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            if error is None:
                waiting.answer.set_result(PartOutputs(outputs.parts[i], outputs.seconds))
            else:
                waiting.answer.set_exception(error)

    def _drop_expired(self, now: float) -> None:
        expired = [waiting for bucket in self._buckets.values() for waiting in bucket if waiting.deadline <= now]
        for waiting in expired:
            self._forget(waiting)
            if not waiting.answer.done():
                waiting.answer.set_exception(DeadlineExceededError("the deadline passed while the request waited"))

    def _forget(self, waiting: _Waiting) -> None:
        """Take a row out of the queue, if it is still there."""
        bucket = self._buckets.get(waiting.key, deque())
        if waiting in bucket:
            bucket.remove(waiting)
            self.queue_depth -= waiting.rows.count
            if not bucket:
                del self._buckets[waiting.key]

    def _retry_after_s(self) -> float:
        """Time until about half of what is inside will have left."""
        return max(_MIN_RETRY_S, self.inside * self._row_s / self.policy.slots / 2)


def _count(waiting: Iterable[_Waiting]) -> int:
    """Rows of all of them."""
    return sum(one.rows.count for one in waiting)
