import asyncio
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, RunTerminatedError
from pipelines.types import AnyArray
from serving.admission import Claim
from serving.batcher import Batcher, BatchPolicy
from serving.executor import Parts, Run
from serving.fairness import Priority
from serving.rows import PartOutputs, Rows
from tests.serving.virtual_time import run_virtually

RUN_S = 0.25


class Runs:
    """Stands for an executor: each batch is answered when the test says so, a row with itself."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[AnyArray], asyncio.Future[Parts]]] = []
        self.runs: list[Run] = []
        self.shrunk: list[asyncio.Future[None]] = []
        self._given_after = 0

    def submit(self, parts: Sequence[Rows], run: Run) -> asyncio.Future[Parts]:
        done: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
        self.batches.append(([part.feeds["in"] for part in parts], done))
        self.runs.append(run)
        return done

    def call(self, job: Callable[[Run], Any], run: Run) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.batches.append(([], done))
        self.runs.append(run)
        return done

    def shrink(self) -> asyncio.Future[None] | None:
        """As ``Executor.shrink``: nothing is left to give where no run came since."""
        if len(self.runs) == self._given_after:
            return None
        self._given_after = len(self.runs)
        self.shrunk.append(asyncio.get_running_loop().create_future())
        return self.shrunk[-1]

    @property
    def values(self) -> list[list[float]]:
        """First value of each part, by batch."""
        return [[float(row.flat[0]) for row in rows] for rows, _ in self.batches]

    def answer(self, batch: int) -> None:
        rows, done = self.batches[batch]
        self.runs[batch].seconds = RUN_S
        done.set_result([{"out": row} for row in rows])

    def fail(self, batch: int, error: Exception) -> None:
        self.runs[batch].seconds = RUN_S
        self.batches[batch][1].set_exception(error)


class Seen:
    """Remembers what a meter is told."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seconds, self.wasted_s, self.terminated, self.padding = 0.0, 0.0, 0, 0

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool, padding: int) -> None:
        self.sizes.append(rows)
        self.seconds += seconds
        self.wasted_s += wasted_s
        self.terminated += terminated
        self.padding += padding


def batcher_of(
    runs: Runs,
    *,
    slots: int = 1,
    max_size: int = 8,
    max_queue: int = 100,
    max_delay_ms: float = 0,
    group_size: int = 0,
    seen: Seen | None = None,
) -> Batcher:
    policy = BatchPolicy(
        slots=slots, max_size=max_size, max_delay_ms=max_delay_ms, max_queue=max_queue, group_size=group_size
    )
    return Batcher(runs, policy, meter=seen or Seen())


def row(value: float, *, shape: tuple[int, ...] = (3, 4, 4)) -> AnyArray:
    return np.full(shape, value, np.float32)


def rows_of(row: AnyArray) -> Rows:
    return Rows({"in": row[np.newaxis]}, 1, ("out",))


@contextmanager
def place_in(batcher: Batcher, **claim: Any) -> Any:
    place = batcher.admission.enter(Claim(**claim))
    try:
        yield place
    finally:
        batcher.admission.leave(place)


async def run(batcher: Batcher, rows: Rows, **claim: Any) -> PartOutputs:
    with place_in(batcher, rows=rows.count, **claim) as place:
        return await batcher.run(rows, place)


def submit(batcher: Batcher, *rows: AnyArray, **claim: Any) -> list[asyncio.Task[PartOutputs]]:
    return [asyncio.create_task(run(batcher, rows_of(each), **claim)) for each in rows]


async def settle() -> None:
    """Let everything that is due in the loop happen; nothing here waits for a thread or a clock."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_row_leaves_at_once():
    runs = Runs()
    (answer,) = submit(batcher_of(runs), row(7))
    await settle()
    assert runs.values == [[7]]
    runs.answer(0)
    outputs = await answer
    assert float(outputs.outputs["out"].flat[0]) == 7
    assert outputs.inference_s == 0.25


async def test_rows_that_wait_for_a_slot_leave_as_one_batch():
    runs = Runs()
    batcher = batcher_of(runs)
    answers = submit(batcher, row(0))
    await settle()
    answers += submit(batcher, row(1), row(2), row(3))
    await settle()
    assert runs.values == [[0]]
    assert batcher.queue_depth == 3
    runs.answer(0)
    await settle()
    assert runs.values == [[0], [1, 2, 3]]
    assert batcher.queue_depth == 0
    runs.answer(1)
    assert [float(each.outputs["out"].flat[0]) for each in await asyncio.gather(*answers)] == [0, 1, 2, 3]


async def test_waiting_rows_are_split_evenly_between_free_slots():
    runs = Runs()
    submit(batcher_of(runs, slots=3), *(row(i) for i in range(7)))
    await settle()
    assert runs.values == [[0, 1, 2], [3, 4], [5, 6]]
    for batch in range(3):
        runs.answer(batch)
    await settle()


async def test_no_batch_is_larger_than_max_size():
    runs = Runs()
    submit(batcher_of(runs, slots=2, max_size=2), *(row(i) for i in range(5)))
    await settle()
    assert runs.values == [[0, 1], [2, 3]]
    runs.answer(0)
    await settle()
    assert runs.values[2:] == [[4]]
    runs.answer(1)
    runs.answer(2)
    await settle()


async def test_rows_of_different_shapes_never_share_a_batch_and_the_oldest_goes_first():
    runs = Runs()
    batcher = batcher_of(runs)
    submit(batcher, row(0))
    await settle()
    submit(batcher, row(1, shape=(3, 8, 8)), row(2), row(3, shape=(3, 8, 8)), row(4))
    await settle()
    for batch in range(3):
        runs.answer(batch)
        await settle()
    assert runs.values == [[0], [1, 3], [2, 4]]


async def test_with_a_delay_rows_wait_for_others_until_the_batch_is_full():
    runs = Runs()
    batcher = batcher_of(runs, max_size=2, max_delay_ms=10_000)
    submit(batcher, row(0))
    await settle()
    assert runs.values == []
    submit(batcher, row(1))
    await settle()
    assert runs.values == [[0, 1]]
    runs.answer(0)
    await settle()


async def test_with_a_delay_a_lone_row_leaves_when_it_is_over():
    runs = Runs()
    (answer,) = submit(batcher_of(runs, max_size=2, max_delay_ms=1), row(0))
    async with asyncio.timeout(60):
        while not runs.batches:
            await asyncio.sleep(0)
    runs.answer(0)
    await answer


async def test_a_batch_that_fails_fails_its_rows_and_no_others():
    runs = Runs()
    good, *bad = submit(batcher_of(runs, slots=2, max_size=2), row(0, shape=(1,)), row(1), row(2))
    await settle()
    runs.fail(1, RuntimeError("the graph failed"))
    runs.answer(0)
    for answer in bad:
        with pytest.raises(RuntimeError, match="the graph failed"):
            await answer
    assert float((await good).outputs["out"].flat[0]) == 0


async def test_a_slot_is_free_again_after_a_batch_failed():
    runs = Runs()
    batcher = batcher_of(runs)
    (bad,) = submit(batcher, row(0))
    await settle()
    runs.fail(0, RuntimeError("the graph failed"))
    await settle()
    submit(batcher, row(1))
    await settle()
    assert runs.values == [[0], [1]]
    assert isinstance(bad.exception(), RuntimeError)
    runs.answer(1)
    await settle()


async def test_a_cancelled_row_is_never_run():
    runs = Runs()
    batcher = batcher_of(runs)
    submit(batcher, row(0))
    await settle()
    leaves, stays = submit(batcher, row(1), row(2))
    await settle()
    leaves.cancel()
    await settle()
    assert batcher.queue_depth == 1
    runs.answer(0)
    await settle()
    assert runs.values == [[0], [2]]
    assert leaves.cancelled()
    runs.answer(1)
    await stays


async def test_a_row_cancelled_during_its_run_leaves_the_others_their_answers():
    runs = Runs()
    leaves, stays = submit(batcher_of(runs), row(1), row(2))
    await settle()
    leaves.cancel()
    await settle()
    runs.answer(0)
    assert float((await stays).outputs["out"].flat[0]) == 2


async def test_a_row_cancelled_in_the_turn_in_which_its_run_fails_leaves_no_error_behind():
    runs = Runs()
    (leaves,) = submit(batcher_of(runs), row(1))
    await settle()
    runs.fail(0, RuntimeError("the graph failed"))
    await asyncio.sleep(0)
    leaves.cancel()
    await settle()
    assert leaves.done()


async def test_an_expired_row_is_never_run_and_is_told_so():
    runs = Runs()
    batcher = batcher_of(runs)
    submit(batcher, row(0))
    await settle()
    deadline = asyncio.get_running_loop().time() + 0.1
    (late,) = submit(batcher, row(1), deadline=deadline)
    (good,) = submit(batcher, row(2))
    await settle()
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0)
    runs.answer(0)
    await settle()
    assert runs.values == [[0], [2]]
    with pytest.raises(DeadlineExceededError, match="waited"):
        await late
    runs.answer(1)
    await good


async def test_the_size_of_each_run_and_its_seconds_are_told():
    runs, seen = Runs(), Seen()
    submit(batcher_of(runs, seen=seen), row(0), row(1), row(2))
    await settle()
    runs.answer(0)
    await settle()
    assert (seen.sizes, seen.seconds, seen.wasted_s, seen.terminated) == ([3], RUN_S, 0, 0)


async def test_the_padding_of_a_run_is_told_apart_from_its_rows():
    runs, seen = Runs(), Seen()
    submit(batcher_of(runs, seen=seen), row(0), row(1), row(2))
    await settle()
    runs.runs[0].padding = 1
    runs.answer(0)
    await settle()
    assert (seen.sizes, seen.padding) == ([3], 1)


async def test_entries_of_several_rows_fill_a_run_up_to_its_size():
    runs = Runs()
    batcher = batcher_of(runs, max_size=4)
    answers = submit(batcher, row(0))
    await settle()
    for value, count in ((1, 2), (2, 2), (3, 1)):
        rows = Rows({"in": np.full((count, 3, 4, 4), value, np.float32)}, count, ("out",))
        answers.append(asyncio.create_task(run(batcher, rows)))
    await settle()
    runs.answer(0)
    await settle()
    runs.answer(1)
    await settle()
    assert runs.values == [[0], [1, 2], [3]]
    runs.answer(2)
    await settle()


async def test_clients_take_turns_within_a_run():
    runs = Runs()
    batcher = batcher_of(runs, max_size=4)
    submit(batcher, row(0))
    await settle()
    submit(batcher, *(row(i) for i in range(1, 7)), client="hog")
    submit(batcher, row(100), client="guest")
    await settle()
    runs.answer(0)
    await settle()
    assert runs.values[1] == [1, 100, 2, 3]
    runs.answer(1)
    await settle()
    runs.answer(2)
    await settle()


async def test_rows_of_high_priority_leave_first_whatever_their_shape():
    runs = Runs()
    batcher = batcher_of(runs)
    submit(batcher, row(0))
    await settle()
    submit(batcher, row(1), row(2))
    submit(batcher, row(3, shape=(5,)), priority=Priority.HIGH)
    await settle()
    for batch in range(3):
        runs.answer(batch)
        await settle()
    assert runs.values == [[0], [3], [1, 2]]


async def test_the_last_waiter_gone_ends_the_run_and_its_seconds_are_wasted():
    runs, seen = Runs(), Seen()
    first, second = submit(batcher_of(runs, seen=seen), row(1), row(2))
    await settle()
    first.cancel()
    await settle()
    assert not runs.runs[0].terminated
    second.cancel()
    await settle()
    assert runs.runs[0].terminated
    runs.fail(0, RunTerminatedError("ended"))
    await settle()
    assert (seen.wasted_s, seen.terminated) == (RUN_S, 1)


async def test_a_run_whose_rows_are_half_left_is_half_wasted():
    runs, seen = Runs(), Seen()
    leaves, stays = submit(batcher_of(runs, seen=seen), row(1), row(2))
    await settle()
    leaves.cancel()
    await settle()
    runs.answer(0)
    await stays
    assert (seen.wasted_s, seen.seconds, seen.terminated) == (RUN_S / 2, RUN_S, 0)


async def test_a_failed_run_is_not_taken_for_a_measured_one():
    runs = Runs()
    batcher = batcher_of(runs)
    (bad,) = submit(batcher, row(0))
    await settle()
    runs.fail(0, RuntimeError("the graph failed"))
    with pytest.raises(RuntimeError):
        await bad
    assert batcher.times.run_s(1) == 0


async def test_a_job_holds_its_slot_until_it_is_over():
    runs = Runs()
    batcher = batcher_of(runs)
    assert batcher.is_idle
    held = batcher.hold_slot(lambda run: "done", Run())
    assert not batcher.is_idle
    answers = submit(batcher, row(1))
    await settle()
    assert runs.values == [[]]
    runs.batches[0][1].set_result("done")
    assert await held == "done"
    await settle()
    assert runs.values == [[], [1]]
    runs.answer(1)
    await asyncio.gather(*answers)
    assert batcher.is_idle


async def test_everything_given_back_leaves_nothing_inside():
    runs = Runs()
    batcher = batcher_of(runs, slots=2, max_size=2)
    answers = submit(batcher, *(row(i) for i in range(7)))
    await settle()
    answers[0].cancel()
    answers[6].cancel()
    await settle()
    for batch in range(3):
        runs.answer(batch)
        await settle()
    await asyncio.gather(*answers, return_exceptions=True)
    assert (batcher.inside, batcher.queue_depth, batcher.admission.in_window) == (0, 0, 0)


def shrinking(runs: Runs) -> Batcher:
    policy = BatchPolicy(slots=1, max_size=1, max_delay_ms=0, max_queue=9, shrink_idle_s=10.0)
    return Batcher(runs, policy, meter=Seen())


async def after(seconds: float) -> None:
    """Let virtual time pass, and a moment."""
    await asyncio.sleep(seconds)
    await settle()


def test_memory_is_given_back_once_no_request_was_inside_for_so_long():
    async def scene() -> None:
        runs = Runs()
        (answer,) = submit(shrinking(runs), row(0))
        await settle()
        runs.answer(0)
        await answer
        await after(9)
        assert runs.shrunk == []
        await after(2)
        assert len(runs.shrunk) == 1
        await after(100)
        assert len(runs.shrunk) == 1  # nothing ran since

    run_virtually(scene())


def test_a_request_in_between_puts_the_giving_back_off():
    async def scene() -> None:
        runs = Runs()
        batcher = shrinking(runs)
        for i in range(3):
            (answer,) = submit(batcher, row(i))
            await settle()
            runs.answer(i)
            await answer
            await after(9)
        assert runs.shrunk == []
        await after(2)
        assert len(runs.shrunk) == 1

    run_virtually(scene())


def test_while_memory_is_given_back_its_slot_is_taken_and_a_failure_frees_it(caplog: pytest.LogCaptureFixture):
    async def scene() -> None:
        runs = Runs()
        batcher = shrinking(runs)
        submit(batcher, row(0))
        await settle()
        runs.answer(0)
        await after(11)
        (waits,) = submit(batcher, row(1))
        await settle()
        assert runs.values == [[0]]
        runs.shrunk[0].set_exception(RuntimeError("the run failed"))
        await settle()
        assert runs.values == [[0], [1]]
        runs.answer(1)
        await waits

    run_virtually(scene())
    assert "not given back: the run failed" in caplog.text


def measured(batcher: Batcher) -> None:
    """Runs of a row took 0.1 s lately, two of them 0.2 s; known only once all rows are inside."""
    now = asyncio.get_running_loop().time()
    for seconds in (0.1, 0.1, 0.1, 0.2, 0.2):
        batcher.times.ran(1, seconds, now=now)


def test_while_others_wait_a_row_that_would_hardly_end_in_time_gives_way_to_them():
    async def scene() -> None:
        runs = Runs()
        batcher = batcher_of(runs, max_size=1)
        submit(batcher, row(0))
        (tight,) = submit(batcher, row(1), deadline=0.15)
        (easy,) = submit(batcher, row(2), deadline=1.0)
        await settle()
        measured(batcher)
        runs.answer(0)
        await settle()
        assert runs.values == [[0], [2]]
        with pytest.raises(DeadlineExceededError):
            await tight
        runs.answer(1)
        await easy

    run_virtually(scene())


def test_the_last_row_that_waits_runs_where_the_fastest_run_would_end_in_time():
    async def scene() -> None:
        runs = Runs()
        batcher = batcher_of(runs, max_size=1)
        submit(batcher, row(0))
        (tight,) = submit(batcher, row(1), deadline=0.15)
        await settle()
        measured(batcher)
        runs.answer(0)
        await settle()
        assert runs.values == [[0], [1]]
        runs.answer(1)
        await tight

    run_virtually(scene())


def test_a_row_is_too_late_for_a_run_of_the_size_that_it_would_get():
    async def scene() -> None:
        runs = Runs()
        batcher = batcher_of(runs, max_size=4)
        submit(batcher, row(0))
        await settle()
        (tight,) = submit(batcher, row(1), deadline=0.3)
        easy = submit(batcher, row(2), row(3), row(4), row(5), deadline=1.0)
        await settle()
        measured(batcher)
        batcher.times.ran(4, 0.4, now=0.0)
        runs.answer(0)
        await settle()
        assert runs.values == [[0], [2, 3, 4, 5]]
        with pytest.raises(DeadlineExceededError):
            await tight
        runs.answer(1)
        await asyncio.gather(*easy)

    run_virtually(scene())
