import asyncio
import time

import uvloop

from serving import event_loop


def test_a_server_runs_on_uvloop():
    async def kind() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    assert event_loop.run(kind()) is event_loop.LOOP
    assert event_loop.LOOP is not None
    assert issubclass(event_loop.LOOP, uvloop.Loop)


def test_its_clock_is_the_one_of_deadlines_and_moves_within_a_turn():
    async def times() -> tuple[float, ...]:
        loop = asyncio.get_running_loop()
        return time.monotonic(), loop.time(), time.monotonic(), loop.time(), time.monotonic()

    told = event_loop.run(times())
    assert list(told) == sorted(told)


def test_a_timer_at_a_time_of_its_clock_comes_then():
    async def late() -> float:
        loop = asyncio.get_running_loop()
        when, rung = loop.time() + 0.01, loop.create_future()
        loop.call_at(when, rung.set_result, None)
        await rung
        return time.monotonic() - when

    assert event_loop.run(late()) > -0.002  # libuv's timers count whole milliseconds
