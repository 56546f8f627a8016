"""The requests inside: until their deadline, or until an abort."""

import asyncio

import pytest

from pipelines.errors import DeadlineExceededError, DrainingError, OverloadedError
from serving.admission import Admission, Bounds, Claim
from serving.estimate import ServiceTimes
from serving.inside import Inside
from tests.serving.virtual_time import run_virtually


@pytest.fixture
async def admission() -> Admission:
    times = ServiceTimes(slots=1, max_size=1, pixel_threads=1)
    return Admission(Bounds(rows=4, bytes=100, window=1), times, clock=asyncio.get_running_loop().time)


async def test_a_place_is_held_while_the_block_runs(admission: Admission):
    inside = Inside()
    async with inside.enter(admission, Claim(rows=2)) as place:
        assert (place.claim.rows, admission.inside) == (2, 2)
    assert admission.inside == 0
    await inside.wait_empty()


async def test_a_deadline_ends_the_block_and_gives_the_place_back(admission: Admission):
    deadline = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(DeadlineExceededError, match="deadline passed before the answer"):
        async with Inside().enter(admission, Claim(deadline=deadline)):
            await asyncio.Event().wait()
    assert admission.inside == 0


async def test_the_longest_time_of_the_server_ends_a_block_without_a_deadline(admission: Admission):
    with pytest.raises(DeadlineExceededError, match=r"the 0\.01 seconds that this server gives a request passed"):
        async with Inside(longest_s=0.01).enter(admission, Claim()):
            await asyncio.Event().wait()
    assert admission.inside == 0


async def test_a_sooner_deadline_counts_before_the_longest_time(admission: Admission):
    deadline = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(DeadlineExceededError, match=r"^the deadline passed before the answer"):
        async with Inside(longest_s=60).enter(admission, Claim(deadline=deadline)):
            await asyncio.Event().wait()


async def test_an_abort_ends_every_block(admission: Admission):
    inside = Inside()

    async def stay() -> None:
        async with inside.enter(admission, Claim()):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(stay()) for _ in range(3)]
    while admission.inside < 3:
        await asyncio.sleep(0)
    inside.abort()
    await inside.wait_empty()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DrainingError] * 3
    assert admission.inside == 0


async def test_an_error_of_the_block_comes_out_as_it_is(admission: Admission):
    with pytest.raises(TimeoutError, match="of its own"):
        async with Inside().enter(admission, Claim()):
            raise TimeoutError("of its own")
    assert admission.inside == 0


async def test_who_is_refused_was_never_inside(admission: Admission):
    inside = Inside()
    async with inside.enter(admission, Claim(bytes=90)):
        with pytest.raises(OverloadedError, match="bytes may be inside"):
            await inside.enter(admission, Claim(bytes=90)).__aenter__()
    await inside.wait_empty()


def test_a_deadline_that_is_far_away_ends_the_block_on_time_too():
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        times = ServiceTimes(slots=1, max_size=1, pixel_threads=1)
        admission = Admission(Bounds(rows=4, bytes=100, window=1), times, clock=loop.time)
        inside = Inside()
        with pytest.raises(DeadlineExceededError, match="deadline passed before the answer"):
            async with inside.enter(admission, Claim(deadline=7.25)):
                await asyncio.Event().wait()
        await inside.wait_empty()
        return loop.time()

    assert run_virtually(scene()) == pytest.approx(7.25)


def test_the_servers_own_bound_ends_a_block_without_a_deadline():
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        times = ServiceTimes(slots=1, max_size=1, pixel_threads=1)
        admission = Admission(Bounds(rows=4, bytes=100, window=1), times, clock=loop.time)
        with pytest.raises(DeadlineExceededError, match="the 30 seconds that this server gives"):
            async with Inside(longest_s=30).enter(admission, Claim()):
                await asyncio.Event().wait()
        return loop.time()

    assert run_virtually(scene()) == pytest.approx(30)
