"""Halving what failed: the guilty are found, the innocent answered, and few runs are needed."""

from __future__ import annotations

import asyncio

import pytest

from serving.batch.errors import JobError
from serving.batch.isolation import Isolation


class Batches:
    """Runs what is asked in one turn of the loop as one batch, which fails whole where it holds a ``bad`` item."""

    def __init__(self, bad: set[int]) -> None:
        self.runs: list[list[int]] = []
        self._bad = bad
        self._waiting: list[tuple[int, asyncio.Future[str]]] = []

    async def ask(self, item: int) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append((item, future))
        return await future

    def _run(self) -> None:
        batch, self._waiting = self._waiting, []
        self.runs.append([item for item, _ in batch])
        for item, future in batch:
            if self._bad & set(self.runs[-1]):
                future.set_exception(RuntimeError("the batch failed"))
            else:
                future.set_result(f"answer {item}")


async def ask_all(batches: Batches, count: int) -> list[str | BaseException]:
    isolation = Isolation(batches.ask, is_clear=lambda error: isinstance(error, JobError))
    return await asyncio.gather(*(isolation(i) for i in range(count)), return_exceptions=True)


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, {0, 7}, set(range(8))])
async def test_only_the_guilty_fail(bad: set[int]):
    answers = await ask_all(Batches(bad), 8)
    assert {i for i, answer in enumerate(answers) if isinstance(answer, RuntimeError)} == bad
    assert all(answers[i] == f"answer {i}" for i in set(range(8)) - bad)


async def test_one_guilty_of_64_is_found_in_about_2_log2_runs():
    batches = Batches({37})
    await ask_all(batches, 64)
    assert len(batches.runs) <= 1 + 2 * 6


async def test_an_image_is_judged_by_a_run_of_its_own():
    batches = Batches({5})
    await ask_all(batches, 8)
    assert [5] in batches.runs


async def test_nothing_else_runs_while_suspects_are_examined():
    batches = Batches({1})
    isolation = Isolation(batches.ask, is_clear=lambda _: False)
    first = [asyncio.create_task(isolation(i)) for i in range(4)]
    await asyncio.sleep(0)
    later = [asyncio.create_task(isolation(i)) for i in range(10, 14)]
    await asyncio.gather(*first, *later, return_exceptions=True)
    assert [run for run in batches.runs if set(run) & {0, 1, 2, 3} and set(run) & {10, 11, 12, 13}] == []


async def test_an_error_of_the_whole_job_ends_every_wait():
    async def ask(item: int) -> str:
        raise RuntimeError("first") if not gone else JobError("the server is gone")

    gone: list[bool] = []
    isolation = Isolation(ask, is_clear=lambda error: isinstance(error, JobError))
    tasks = [asyncio.create_task(isolation(i)) for i in range(4)]
    await asyncio.sleep(0)
    gone.append(True)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [JobError] * 4
