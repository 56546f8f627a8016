import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ModelRunError, RunTerminatedError
from pipelines.loader import load_package
from pipelines.session import Session, run_one
from pipelines.types import AnyArray
from serving.executor import Executor, Parts, Run
from serving.rows import Rows
from tests.serving.servers import PATIENCE_S, FaultySession, GatedSession


@pytest.fixture
async def session(folders: dict[str, Path]) -> AsyncIterator[Session]:
    with load_package(folders["classes"]) as loaded:
        yield loaded.session


@contextmanager
def executor_of(session: Session, *, slots: int = 1, shrinks: bool = False) -> Iterator[Executor]:
    executor = Executor(session, slots=slots, name="test", shrinks=shrinks)
    try:
        yield executor
    finally:
        executor.close()


def rows_of(count: int) -> list[AnyArray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(3, 96, 128)).astype(np.float32) for _ in range(count)]


def submit(executor: Executor, rows: list[AnyArray], control: Run | None = None) -> asyncio.Future[Parts]:
    parts = [Rows({"image": row[np.newaxis]}, 1, ("logits",)) for row in rows]
    return executor.submit(parts, control or Run())


@pytest.mark.parametrize("count", [1, 2, 7])
async def test_each_row_gets_its_own_outputs(session: Session, count: int):
    rows = rows_of(count)
    with executor_of(session) as executor:
        run = Run()
        outputs = await submit(executor, rows, run)
    assert len(outputs) == count
    assert run.seconds > 0
    for got, row in zip(outputs, rows, strict=True):
        expected = run_one(session, row)
        assert got.keys() == expected.keys()
        # Logits are below 16; a batched matrix product may add in another order than a single one.
        np.testing.assert_allclose(got["logits"][0], expected["logits"], atol=1e-5)


async def test_a_wrong_number_of_rows_is_an_error_that_names_itself(session: Session):
    short = FaultySession(session, lambda outputs: {name: value[:-1] for name, value in outputs.items()})
    with executor_of(short) as executor, pytest.raises(ModelRunError, match=r"output 'logits' must have 2 rows"):
        await submit(executor, rows_of(2))


class Padded(FaultySession):
    """A session that says that it pads to four rows."""

    def padding(self, rows: int) -> int:
        return 4 - rows


async def test_a_run_knows_its_padding_where_the_session_pads(session: Session):
    run, plain = Run(), Run()
    with executor_of(Padded(session, lambda outputs: outputs)) as executor:
        await submit(executor, rows_of(3), run)
    with executor_of(session) as executor:
        await submit(executor, rows_of(3), plain)
    assert (run.padding, plain.padding) == (1, 0)


async def test_an_error_of_the_session_reaches_the_caller(session: Session):
    with executor_of(session) as executor, pytest.raises(ModelRunError, match="onnxruntime refused"):
        await submit(executor, [np.zeros((1, 2), np.float32)])


async def test_as_many_batches_run_at_once_as_there_are_slots(session: Session):
    gated = GatedSession(session)
    with executor_of(gated, slots=2) as executor:
        answers = [submit(executor, rows_of(1)) for _ in range(3)]
        for _ in range(2):
            assert await asyncio.to_thread(gated.entered.acquire, timeout=PATIENCE_S)
        assert len(gated.batches) == 2
        gated.gate.set()
        await asyncio.gather(*answers)
    assert len(gated.batches) == 3


async def test_closing_does_not_wait_for_a_run_that_hangs(session: Session):
    gated = GatedSession(session)
    executor = Executor(gated, slots=1, name="test")
    hung, queued = submit(executor, rows_of(1)), submit(executor, rows_of(1))
    assert await asyncio.to_thread(gated.entered.acquire, timeout=PATIENCE_S)
    executor.close()
    gated.gate.set()
    await hung
    with pytest.raises(asyncio.CancelledError):
        await queued


async def test_a_run_that_was_ended_before_its_turn_never_begins(session: Session):
    gated, run = GatedSession(session), Run()
    run.terminate()
    with executor_of(gated) as executor, pytest.raises(RunTerminatedError, match="did not begin"):
        await submit(executor, rows_of(1), run)
    assert gated.batches == []
    assert run.seconds == 0


async def test_a_job_whose_run_was_ended_before_its_turn_is_not_done(session: Session):
    run = Run()
    run.terminate()
    with executor_of(session) as executor, pytest.raises(RunTerminatedError, match="nobody waited"):
        await executor.call(lambda _: pytest.fail("it was done"), run)


async def test_ending_a_run_under_way_stops_onnxruntime_in_the_middle(session: Session):
    gated, run = GatedSession(session), Run()
    with executor_of(gated) as executor:
        answer = submit(executor, rows_of(1), run)
        assert await asyncio.to_thread(gated.entered.acquire, timeout=PATIENCE_S)
        run.terminate()
        gated.gate.set()
        with pytest.raises(RunTerminatedError, match="nobody waited"):
            await answer
        assert await submit(executor, rows_of(1))  # the session is as good as before


async def test_giving_memory_back_changes_no_answer_and_is_done_once(session: Session):
    (row,) = rows_of(1)
    with executor_of(session, shrinks=True) as executor:
        assert executor.shrink() is None  # nothing ran
        before = await submit(executor, [row])
        shrunk = executor.shrink()
        assert shrunk is not None
        await shrunk
        assert executor.shrink() is None
        again = await submit(executor, [row])
    assert np.array_equal(before[0]["logits"], again[0]["logits"])


async def test_rows_are_kept_only_where_memory_is_to_be_given_back(session: Session):
    (row,) = rows_of(1)
    with executor_of(session) as executor:
        await submit(executor, [row])
        assert executor.shrink() is None
