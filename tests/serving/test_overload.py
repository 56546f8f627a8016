"""Twice the load that the model can carry, in virtual time: the engine's real parts around a run that only waits."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, OverloadedError, RunTerminatedError
from serving.admission import Claim
from serving.batcher import Batcher, BatchPolicy
from serving.executor import Parts, Run
from serving.rows import Rows
from tests.serving.virtual_time import run_virtually

SLOTS, MAX_SIZE = 2, 4
ROW_S, FIXED_S = 0.008, 0.002
DEADLINE_S = 0.25
LOAD_S = 8.0
CAPACITY = SLOTS * MAX_SIZE / (FIXED_S + MAX_SIZE * ROW_S)  # rows a second in full batches


class WaitingRuns:
    """Runs that take ``FIXED_S + rows * ROW_S`` times a factor of their own; a run that is ended ends within one row.

    The factor is log-normal with median 1: what neighbours on a busy machine make of one and the same run.
    """

    def __init__(self, seed: int, noise: float) -> None:
        self._random, self._noise = random.Random(seed), noise

    def submit(self, parts: Sequence[Rows], run: Run) -> asyncio.Future[Parts]:
        return asyncio.ensure_future(self._run(parts, run))

    def call(self, job: Callable[[Run], Any], run: Run) -> asyncio.Future[Any]:
        raise AssertionError("nothing here runs alone")

    async def _run(self, parts: Sequence[Rows], run: Run) -> Parts:
        loop = asyncio.get_running_loop()
        start = loop.time()
        factor = self._random.lognormvariate(0, self._noise)
        try:
            for row_s in (FIXED_S, *(ROW_S for part in parts for _ in range(part.count))):
                await asyncio.sleep(row_s * factor)
                if run.terminated:
                    raise RunTerminatedError("ended")
        finally:
            run.seconds = loop.time() - start
        return [dict(part.feeds) for part in parts]


@dataclass
class Tally:
    """What the clients and the meter saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_client: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    wasted_s: float = 0.0

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool, padding: int) -> None:
        self.seconds += seconds
        self.wasted_s += wasted_s

    @property
    def goodput(self) -> float:
        """Answers in time a second, as a part of what full batches could give."""
        return self.outcomes["ok"] / LOAD_S / CAPACITY


async def request(batcher: Batcher, tally: Tally, client: str) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    claim = Claim(deadline=start + DEADLINE_S, client=client)
    rows = Rows({"in": np.zeros((1, 1), np.float32)}, 1, ("in",))
    try:
        place = batcher.admission.enter(claim)
        try:
            async with asyncio.timeout_at(claim.deadline):
                await batcher.run(rows, place)
        finally:
            batcher.admission.leave(place)
    except OverloadedError as error:
        tally.outcomes[error.reason] += 1
    except (DeadlineExceededError, TimeoutError):
        tally.outcomes["late"] += 1
    else:
        tally.outcomes["ok"] += 1
        tally.by_client[client] += 1
        tally.latencies_s.append(loop.time() - start)


async def offered(load: float, *, seed: int, clients: dict[str, float], noise: float = 0.1) -> Tally:
    """Arrivals at random moments, ``load`` times the capacity; ``clients``: each one's part of them."""
    tally, arrivals = Tally(), random.Random(seed)
    policy = BatchPolicy(slots=SLOTS, max_size=MAX_SIZE, max_delay_ms=0, max_queue=128)
    batcher = Batcher(WaitingRuns(seed, noise), policy, meter=tally)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        while loop.time() < LOAD_S:
            await asyncio.sleep(arrivals.expovariate(load * CAPACITY))
            (client,) = arrivals.choices(list(clients), weights=list(clients.values()))
            tasks.create_task(request(batcher, tally, client))
    assert batcher.inside == 0
    return tally


@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_at_twice_the_capacity_what_is_taken_in_is_answered_in_time(noise: float):
    tally = run_virtually(offered(2.0, seed=1, clients={"one": 1.0}, noise=noise))
    assert tally.goodput >= 0.9
    assert tally.wasted_s < 0.02 * tally.seconds
    assert np.percentile(tally.latencies_s, 99) <= DEADLINE_S
    assert tally.outcomes["late"] < 0.05 * tally.outcomes["ok"]
    assert tally.outcomes["deadline"] > tally.outcomes["late"]  # refused at arrival, not after a wait for nothing


def test_below_the_capacity_nobody_is_refused():
    tally = run_virtually(offered(0.6, seed=3, clients={"one": 1.0}))
    assert tally.outcomes.keys() == {"ok"}
    assert tally.wasted_s == 0


def test_a_client_that_asks_for_little_gets_it_beside_one_that_asks_for_all():
    tally = run_virtually(offered(2.0, seed=4, clients={"hog": 0.9, "guest": 0.1}))
    asked = 0.1 * 2.0 * CAPACITY * LOAD_S
    assert tally.by_client["guest"] > 0.9 * asked
