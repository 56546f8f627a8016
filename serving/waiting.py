"""The rows that wait for a run: which may share one, whose turn it is, and for which it is too late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from pipelines.errors import DeadlineExceededError
from serving.admission import Place
from serving.estimate import ServiceTimes
from serving.executor import Run
from serving.fairness import FairQueue, Priority
from serving.rows import BatchKey, PartOutputs, Rows


class UnderWay:
    """A run under way, and how many still wait for it."""

    __slots__ = ("run", "waiting")

    def __init__(self, waiting: int) -> None:
        self.run = Run()
        self.waiting = waiting

    def one_left(self) -> None:
        """One of those that wait has gone; the last one ends the run."""
        self.waiting -= 1
        if self.waiting == 0:
            self.run.terminate()


class Entry:
    """Rows of one place that wait, or run; ``since`` is in seconds of the loop's clock."""

    __slots__ = ("answer", "key", "place", "rows", "since", "under_way")

    def __init__(self, rows: Rows, place: Place, answer: asyncio.Future[PartOutputs], since: float) -> None:
        self.rows, self.place, self.answer, self.since = rows, place, answer, since
        self.key: BatchKey = rows.batch_key()
        self.under_way: UnderWay | None = None


class Bucket:
    """Waiting rows that may share a run; ``since``: when it came to be or was last served."""

    __slots__ = ("key", "queue", "rows", "since")

    def __init__(self, key: BatchKey, since: float) -> None:
        self.key = key
        self.queue: FairQueue[Entry] = FairQueue()
        self.rows = 0
        self.since = since


class Waiting:
    """Buckets by what may share a run; one exists only while a row waits in it.

    Attributes:
        rows: that wait.
    """

    def __init__(self, times: ServiceTimes, *, max_size: int, max_delay_s: float) -> None:
        """Runs have at most ``max_size`` rows; with a delay rows wait so long for others."""
        self.rows = 0
        self._times = times
        self._max_size = max_size
        self._max_delay_s = max_delay_s
        self._buckets: dict[BatchKey, Bucket] = {}

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def push(self, entry: Entry) -> None:
        """Let an entry wait, behind the others of its client."""
        bucket = self._buckets.get(entry.key)
        if bucket is None:
            bucket = self._buckets[entry.key] = Bucket(entry.key, entry.since)
        claim = entry.place.claim
        bucket.queue.push(entry, priority=claim.priority, client=claim.client)
        bucket.rows += entry.rows.count
        self.rows += entry.rows.count

    def remove(self, entry: Entry) -> None:
        """Take an entry out whose caller is gone, if it is there."""
        bucket, claim = self._buckets.get(entry.key), entry.place.claim
        if bucket is not None and bucket.queue.remove(entry, priority=claim.priority, client=claim.client):
            self._left(bucket, entry)
            self._drop_if_empty(bucket)

    def due(self, now: float) -> Bucket | None:
        """Of the buckets that need not wait for more rows the one that was served least recently, high ones first."""
        if len(self._buckets) == 1 and not self._max_delay_s:
            return next(iter(self._buckets.values()))
        due = [bucket for bucket in self._buckets.values() if self._due_at(bucket) <= now]
        return min(due, key=_turn, default=None)

    def next_due(self) -> float:
        """When a bucket need not wait for more rows any longer, seconds of the loop's clock; infinite without any."""
        return min(map(self._due_at, self._buckets.values()), default=math.inf)

    def take(self, bucket: Bucket, now: float, *, free_slots: int) -> Sequence[Entry]:
        """Take a batch: an even share of the bucket's rows for each free slot, without those that are too late."""
        share = min(self._max_size, math.ceil(bucket.rows / free_slots))
        batch: list[Entry] = []
        size = 0
        while bucket.queue and (not batch or size + bucket.queue.peek().rows.count <= share):
            entry = bucket.queue.pop()
            self._left(bucket, entry)
            if self._is_too_late(entry, now, run_size=max(share, entry.rows.count), is_last=not bucket.queue):
                entry.answer.set_exception(DeadlineExceededError("the deadline passed while the request waited"))
            elif not entry.answer.done():
                batch.append(entry)
                size += entry.rows.count
        bucket.since = now
        self._drop_if_empty(bucket)
        return batch

    def _due_at(self, bucket: Bucket) -> float:
        if not self._max_delay_s or bucket.rows >= self._max_size:
            return -math.inf
        return min(entry.since for entry in bucket.queue.heads()) + self._max_delay_s

    def _is_too_late(self, entry: Entry, now: float, *, run_size: int, is_last: bool) -> bool:
        """Whether a run of ``run_size`` rows would hardly end in time.

        While others wait, a run that may well end too late takes the time of one that would not: then nearly all runs
        like it must have been in time. For the last one the fewest seconds decide: nobody else wants them.
        """
        claim = entry.place.claim
        if claim.deadline == math.inf or entry.answer.done():
            return False
        if not self._times.is_fresh(now):
            return claim.deadline <= now
        if is_last:
            return claim.deadline <= now + self._times.least_run_s(entry.rows.count)
        return claim.deadline <= now + self._times.reliable_left_s(run_size, image=claim.image)

    def _left(self, bucket: Bucket, entry: Entry) -> None:
        bucket.rows -= entry.rows.count
        self.rows -= entry.rows.count

    def _drop_if_empty(self, bucket: Bucket) -> None:
        if not bucket.queue:
            del self._buckets[bucket.key]


def _turn(bucket: Bucket) -> tuple[bool, float]:
    return bucket.queue.peek().place.claim.priority is not Priority.HIGH, bucket.since
