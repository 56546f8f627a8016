import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, OverloadedError
from pipelines.session import RunControl
from pipelines.types import AnyArray
from serving.batcher import Batcher, BatchPolicy, PartOutputs
from serving.executor import BatchOutputs
from serving.rows import Rows


class Runs:
    """Stands for an executor: each batch is answered when the test says so, a row with itself."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[AnyArray], asyncio.Future[BatchOutputs]]] = []

    def __call__(self, parts: Sequence[Rows], control: RunControl) -> asyncio.Future[BatchOutputs]:
        run: asyncio.Future[BatchOutputs] = asyncio.get_running_loop().create_future()
        self.batches.append(([part.feeds["in"] for part in parts], run))
        return run

    @property
    def values(self) -> list[list[float]]:
        """First value of each row, by batch."""
        return [[float(row.flat[0]) for row in rows] for rows, _ in self.batches]

    def answer(self, batch: int) -> None:
        rows, run = self.batches[batch]
        run.set_result(BatchOutputs([{"out": row} for row in rows], seconds=0.25))

    def fail(self, batch: int, error: Exception) -> None:
        self.batches[batch][1].set_exception(error)


def batcher_of(
    runs: Runs, *, slots: int = 1, max_size: int = 8, max_queue: int = 100, max_delay_ms: float = 0
) -> Batcher:
    policy = BatchPolicy(slots=slots, max_size=max_size, max_delay_ms=max_delay_ms, max_queue=max_queue)
    return Batcher(runs, policy, on_batch=lambda size: None)


def row(value: float, *, shape: tuple[int, ...] = (3, 4, 4)) -> AnyArray:
    return np.full(shape, value, np.float32)


def rows_of(row: AnyArray) -> Rows:
    return Rows({"in": row[np.newaxis]}, 1, ("out",))


def submit(batcher: Batcher, *rows: AnyArray, deadline: float = np.inf) -> list[asyncio.Task[PartOutputs]]:
    return [asyncio.create_task(batcher.run(rows_of(each), deadline=deadline)) for each in rows]


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
    (late,) = submit(batcher, row(1), deadline=time.monotonic() - 1)
    (good,) = submit(batcher, row(2))
    await settle()
    runs.answer(0)
    await settle()
    assert runs.values == [[0], [2]]
    with pytest.raises(DeadlineExceededError, match="waited"):
        await late
    runs.answer(1)
    await good


async def test_one_request_more_than_the_capacity_is_refused_with_a_hint():
    batcher = batcher_of(Runs(), slots=2, max_size=3, max_queue=1)
    places = [batcher.admit() for _ in range(7)]
    for place in places:
        place.__enter__()
    with pytest.raises(OverloadedError, match="at most 7 requests may be inside") as caught, batcher.admit():
        pass
    assert caught.value.retry_after_s > 0
    places[0].__exit__(None, None, None)
    with batcher.admit():
        assert batcher.inside == 7


async def test_the_retry_hint_follows_the_time_that_rows_take():
    runs = Runs()
    batcher = batcher_of(runs, max_size=1, max_queue=0)
    with batcher.admit():
        hints = []
        for batch in range(20):
            with pytest.raises(OverloadedError) as caught, batcher.admit():
                pass
            hints.append(caught.value.retry_after_s)
            (answer,) = submit(batcher, row(0))
            await settle()
            runs.answer(batch)
            await answer
    assert hints == sorted(hints)
    assert hints[-1] == pytest.approx(0.125, rel=0.05)  # half of the 0.25 s that the one inside takes


async def test_the_size_of_each_batch_is_told():
    runs, sizes = Runs(), []
    policy = BatchPolicy(slots=1, max_size=8, max_delay_ms=0, max_queue=10)
    batcher = Batcher(runs, policy, on_batch=sizes.append)
    submit(batcher, row(0), row(1), row(2))
    await settle()
    assert sizes == [3]
    runs.answer(0)
    await settle()
