import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.errors import DeadlineExceededError, InvalidRequestError, OverloadedError
from serving.admission import HEADROOM, Admission, Bounds, Claim, Place
from serving.estimate import FRESH_S, ServiceTimes
from serving.fairness import Priority

RUN_S = 0.1


class Clock:
    """Says the time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()


def admission_of(clock: Clock, *, measured: bool = True, **bounds: int) -> Admission:
    """One slot for one row at a time, each taking ``RUN_S`` where that was measured."""
    times = ServiceTimes(slots=1, max_size=1, pixel_threads=1)
    if measured:
        times.ran(1, RUN_S, now=clock.now)
    return Admission(Bounds(**({"rows": 100, "bytes": 1000, "window": 2} | bounds)), times, clock=clock)


def enter(admission: Admission, *, count: int = 1, **claim: Any) -> list[Place]:
    return [admission.enter(Claim(**claim)) for _ in range(count)]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_row_more_than_the_bound_is_refused_with_a_hint(clock: Clock):
    admission = admission_of(clock, rows=3)
    first, *_ = enter(admission, count=3)
    with pytest.raises(OverloadedError, match="at most 3 requests may be inside, 3 are") as caught:
        admission.enter(Claim())
    assert (caught.value.reason, caught.value.retry_after_s) == ("queue_full", pytest.approx(2 * RUN_S))
    admission.leave(first)
    admission.enter(Claim())
    assert admission.inside == 3


def test_a_request_of_more_rows_than_there_are_places_is_told_so(clock: Clock):
    with pytest.raises(InvalidRequestError, match="at most 3 rows, got 4"):
        admission_of(clock, rows=3).enter(Claim(rows=4))


def test_bytes_are_bounded_and_come_back(clock: Clock):
    admission = admission_of(clock, bytes=1000)
    first, _ = enter(admission, count=2, bytes=400)
    with pytest.raises(OverloadedError, match="at most 1,000 bytes may be inside, 800 are and 400 came") as caught:
        admission.enter(Claim(bytes=400))
    assert caught.value.reason == "queue_bytes"
    admission.leave(first)
    admission.enter(Claim(bytes=400))


def test_a_lone_request_may_bring_more_bytes_than_the_bound(clock: Clock):
    admission = admission_of(clock, bytes=1000)
    admission.enter(Claim(bytes=5000))
    with pytest.raises(OverloadedError):
        admission.enter(Claim(bytes=1))


def test_a_deadline_behind_the_queue_is_refused_with_the_time_until_it_would_do(clock: Clock):
    admission = admission_of(clock)
    enter(admission, count=9)
    with pytest.raises(OverloadedError, match="would take about 1000 ms, the deadline is in 500 ms") as caught:
        admission.enter(Claim(deadline=clock.now + 0.5))
    assert caught.value.reason == "deadline"
    assert caught.value.retry_after_s == pytest.approx(10 * RUN_S - 0.5 * HEADROOM)
    admission.enter(Claim(deadline=clock.now + 10 * RUN_S / HEADROOM + 0.01))


def test_a_deadline_that_an_idle_server_could_not_meet_is_no_overload(clock: Clock):
    admission = admission_of(clock)
    with pytest.raises(DeadlineExceededError, match=r"must leave at least 100\.0 ms.*it leaves 1\.0 ms"):
        admission.enter(Claim(deadline=clock.now + 0.001))
    assert admission.inside == 0


def test_an_estimate_that_nothing_confirmed_lately_refuses_nobody(clock: Clock):
    admission = admission_of(clock)
    clock.now += FRESH_S
    enter(admission, count=9)
    admission.enter(Claim(deadline=clock.now + 0.001))


def test_before_the_first_run_only_passed_deadlines_are_refused(clock: Clock):
    admission = admission_of(clock, measured=False)
    admission.enter(Claim(deadline=clock.now + 1e-6))
    with pytest.raises(DeadlineExceededError, match="passed before the request arrived"):
        admission.enter(Claim(deadline=clock.now))


def test_high_priority_waits_for_its_own_kind_alone(clock: Clock):
    admission = admission_of(clock)
    enter(admission, count=9)
    admission.enter(Claim(deadline=clock.now + 0.5, priority=Priority.HIGH))


def test_behind_the_rows_of_another_client_only_a_turn_of_each_is_waited_for(clock: Clock):
    admission = admission_of(clock)
    enter(admission, count=50, client="hog")
    admission.enter(Claim(client="guest", deadline=clock.now + 2 * RUN_S / HEADROOM + 0.01))
    with pytest.raises(OverloadedError, match="about 400 ms"):  # one of its own and two of the other's come first
        admission.enter(Claim(client="guest", deadline=clock.now + 0.4))


def test_rows_that_run_count_half(clock: Clock):
    admission = admission_of(clock)
    (place,) = enter(admission, rows=8)
    admission.started(place, 8)
    with pytest.raises(OverloadedError, match="about 500 ms"):
        admission.enter(Claim(deadline=clock.now + 0.5))
    admission.ended(place, 8)
    admission.enter(Claim(deadline=clock.now + 0.2))


async def test_images_beyond_the_window_wait_undecoded_until_one_is_in_its_run(clock: Clock):
    admission = admission_of(clock, window=1)
    first, second = enter(admission, count=2, image=True)
    await admission.turn(first)
    turn = asyncio.create_task(admission.turn(second))
    await settle()
    assert not turn.done()
    admission.started(first, 1)
    await turn
    admission.leave(first)
    admission.leave(second)
    assert (admission.inside, admission.in_window, admission.waiting) == (0, 0, False)


async def test_clients_take_turns_at_the_window(clock: Clock):
    admission = admission_of(clock, window=1)
    holder, *hog = enter(admission, count=4, image=True, client="hog")
    (guest,) = enter(admission, image=True, client="guest")
    order: list[Place] = []

    async def turn(place: Place) -> None:
        await admission.turn(place)
        order.append(place)
        admission.started(place, 1)

    await admission.turn(holder)
    tasks = [asyncio.create_task(turn(place)) for place in (*hog, guest)]
    await settle()
    admission.started(holder, 1)
    await asyncio.gather(*tasks)
    assert order == [hog[0], guest, hog[1], hog[2]]


async def test_a_turn_that_comes_too_late_is_told_before_anything_is_decoded(clock: Clock):
    admission = admission_of(clock, window=1)
    (first,) = enter(admission, image=True)
    (second,) = enter(admission, image=True, deadline=clock.now + 0.5)
    await admission.turn(first)
    turn = asyncio.create_task(admission.turn(second))
    await settle()
    clock.now += 0.45
    admission.started(first, 1)
    with pytest.raises(DeadlineExceededError, match="too little time is left"):
        await turn


async def test_who_leaves_while_waiting_takes_nobodys_turn(clock: Clock):
    admission = admission_of(clock, window=1)
    first, second, third = enter(admission, count=3, image=True)
    await admission.turn(first)
    leaves, stays = asyncio.create_task(admission.turn(second)), asyncio.create_task(admission.turn(third))
    await settle()
    admission.started(first, 1)
    leaves.cancel()  # in the very turn of the loop in which it was let in
    await stays
    assert leaves.cancelled()
    admission.leave(second)
    admission.leave(third)
    assert admission.in_window == 0


async def test_a_full_server_sends_away_the_newest_of_who_holds_the_most(clock: Clock):
    admission = admission_of(clock, rows=4, window=1)
    hog = enter(admission, count=4, image=True, client="hog")
    turns = [asyncio.create_task(admission.turn(place)) for place in hog]
    await settle()
    admission.enter(Claim(client="guest"))
    await settle()
    assert [turn.done() for turn in turns] == [True, False, False, True]
    with pytest.raises(OverloadedError, match="went to a client that holds fewer") as caught:
        await turns[3]
    assert caught.value.reason == "shed"
    for turn in turns[1:3]:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)


async def test_nobody_is_sent_away_for_one_who_would_hold_as_many(clock: Clock):
    admission = admission_of(clock, rows=4, window=1)
    mine = enter(admission, count=2, client="mine")
    enter(admission, count=2, client="other")
    mine[1].waiter = asyncio.get_running_loop().create_future()
    with pytest.raises(OverloadedError, match="at most 4"):
        admission.enter(Claim(client="other"))
    assert not mine[1].waiter.done()


def test_without_a_deadline_only_the_bounds_count(clock: Clock):
    admission = admission_of(clock)
    enter(admission, count=90)
    admission.enter(Claim(deadline=math.inf))
