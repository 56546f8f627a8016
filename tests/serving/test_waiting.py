"""Which of the waiting rows leave next; ``test_batcher`` has the rest through the batcher."""

import asyncio
import math

import numpy as np

from serving.admission import Claim, Place
from serving.estimate import ServiceTimes
from serving.fairness import Priority
from serving.rows import Rows
from serving.waiting import Entry, Waiting


def waiting(*, max_size: int = 4, max_delay_s: float = 0.0) -> Waiting:
    times = ServiceTimes(slots=1, max_size=max_size, pixel_threads=1)
    return Waiting(times, max_size=max_size, max_delay_s=max_delay_s)


def entry(*, since: float = 0.0, width: int = 4, priority: Priority = Priority.NORMAL) -> Entry:
    rows = Rows({"in": np.zeros((1, width), np.float32)}, 1, ("out",))
    return Entry(rows, Place(Claim(priority=priority)), asyncio.get_running_loop().create_future(), since)


async def test_what_was_taken_or_removed_waits_no_more():
    queue, first, second = waiting(), entry(), entry()
    queue.push(first)
    queue.push(second)
    assert queue.rows == 2
    queue.remove(second)
    bucket = queue.due(0.0)
    assert bucket is not None
    assert queue.take(bucket, 0.0, free_slots=1) == [first]
    assert (bool(queue), queue.rows, queue.due(0.0), queue.next_due()) == (False, 0, None, math.inf)


async def test_removing_what_does_not_wait_changes_nothing():
    queue = waiting()
    queue.push(entry())
    queue.remove(entry())
    queue.remove(entry(width=8))
    assert queue.rows == 1


async def test_a_bucket_is_due_when_its_oldest_row_has_waited_or_it_is_full():
    queue = waiting(max_size=2, max_delay_s=0.5)
    queue.push(entry(since=10.0))
    queue.push(entry(since=10.2, width=8))
    assert queue.due(10.4) is None
    assert queue.next_due() == 10.5
    bucket = queue.due(10.5)
    assert bucket is not None
    assert bucket.key == entry().key
    queue.push(entry(since=10.3, width=8))
    full = queue.due(10.4)
    assert full is not None
    assert full.key == entry(width=8).key


async def test_of_two_shapes_the_one_with_the_more_urgent_row_is_due_first():
    queue = waiting()
    queue.push(entry())
    queue.push(entry(since=1.0, width=8, priority=Priority.HIGH))
    bucket = queue.due(1.0)
    assert bucket is not None
    assert bucket.key == entry(width=8).key
