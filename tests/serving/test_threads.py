import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from serving.cpu import affinity
from serving.threads import Threads
from tests.serving.servers import PATIENCE_S


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads(1, name="test")
    yield threads
    threads.close()


class Gate:
    """A call that stands until it is let through."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        return "through"


async def test_a_call_runs_on_a_thread_and_gives_its_result(threads: Threads):
    assert await threads.run(lambda a, b: (a + b, threading.current_thread().name), 1, 2) == (3, "test-0")


async def test_what_a_call_raises_is_raised_where_it_is_awaited(threads: Threads):
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: "still there") == "still there"


async def test_stop_iteration_does_not_get_lost(threads: Threads):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(lambda: next(iter(())))


async def test_calls_come_in_order(threads: Threads):
    order: list[int] = []
    await asyncio.gather(*(threads.run(order.append, i) for i in range(50)))
    assert order == list(range(50))


async def test_a_call_cancelled_before_its_turn_is_never_made(threads: Threads):
    gate, made = Gate(), []
    first, second, third = threads.run(gate), threads.run(made.append, 2), threads.run(made.append, 3)
    second.cancel()
    gate.open.set()
    assert await first == "through"
    await third
    assert made == [3]


async def test_a_call_cancelled_while_it_runs_disturbs_nobody(threads: Threads):
    gate = Gate()
    running = threads.run(gate)
    assert await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
    running.cancel()
    gate.open.set()
    assert await threads.run(lambda: "next") == "next"


async def test_as_many_calls_run_at_once_as_there_are_threads():
    threads, barrier = Threads(3, name="test"), threading.Barrier(3)
    await asyncio.gather(*(threads.run(barrier.wait, PATIENCE_S) for _ in range(3)))
    threads.close()


async def test_closing_cancels_what_waits_and_ends_the_threads():
    threads, gate = Threads(1, name="closing"), Gate()
    running, waiting = threads.run(gate), threads.run(lambda: None)
    assert await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
    gate.open.set()
    threads.close()
    assert waiting.cancelled()
    assert await running == "through"
    assert "closing-0" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="closed"):
        threads.run(lambda: None)


async def test_closing_without_waiting_leaves_a_call_under_way_to_its_end(monkeypatch: pytest.MonkeyPatch):
    threads, gate = Threads(1, name="closing"), Gate()
    running = threads.run(gate)
    assert await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", lambda *_: pytest.fail("it waited"))
        threads.close(wait=False)
    gate.open.set()
    assert await running == "through"


def test_a_call_that_outlives_its_loop_ends_in_silence(recwarn: pytest.WarningsRecorder):
    gate = Gate()

    async def main() -> threading.Thread:
        threads = Threads(1, name="late")
        threads.run(gate)
        assert await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
        threads.close()
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "late-0")
        return thread

    thread = asyncio.run(main())
    gate.open.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not recwarn.list


async def test_an_idle_thread_keeps_no_argument_alive(threads: Threads):
    class Image:
        pass

    image = Image()
    gone = weakref.ref(image)
    await threads.run(id, image)
    del image
    await threads.run(gc.collect)  # the thread has come round once more
    assert gone() is None


async def test_abandoned_calls_fail_those_that_hang_those_that_wait_and_those_to_come():
    gate, entered = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert gate.wait(60)

    threads = Threads(1, name="test")
    hung, waiting = threads.run(hang), threads.run(int)
    assert await asyncio.to_thread(entered.wait, 60)
    assert threads.abandon(OverflowError("left behind")) == 1
    for call in (hung, waiting, threads.run(int)):
        with pytest.raises(OverflowError, match="left behind"):
            await call
    gate.set()


async def test_nothing_is_left_behind_where_nothing_hangs():
    threads = Threads(2, name="test-idle")
    assert await threads.run(int) == 0
    assert threads.abandon(OverflowError("left behind")) == 0


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
async def test_nice_threads_stand_back_behind_those_of_the_process(threads: Threads):
    usual = await threads.run(priority)
    nice = Threads(1, name="nice", niceness=3)
    try:
        assert await nice.run(priority) == min(19, usual + 3)
    finally:
        nice.close()
    assert await threads.run(priority) == usual


def cores_of(threads: Threads) -> list[set[int]]:
    return [os.sched_getaffinity(thread.native_id or 0) for thread in threads._threads]


@pytest.fixture
async def thread_per_core() -> AsyncIterator[Threads]:
    threads = Threads(len(affinity()), name="core")
    yield threads
    threads.close()


@pytest.mark.skipif(not affinity(), reason="threads are kept on cores where the system offers it")
async def test_threads_that_are_kept_apart_have_a_core_each(thread_per_core: Threads):
    thread_per_core.keep_apart(apart=True)
    assert cores_of(thread_per_core) == [{core} for core in affinity()]


@pytest.mark.skipif(not affinity(), reason="threads are kept on cores where the system offers it")
async def test_threads_that_are_no_longer_kept_apart_run_anywhere(thread_per_core: Threads):
    thread_per_core.keep_apart(apart=True)
    thread_per_core.keep_apart(apart=False)
    assert cores_of(thread_per_core) == [set(affinity())] * len(affinity())


@pytest.mark.skipif(not affinity(), reason="threads are kept on cores where the system offers it")
async def test_threads_that_are_not_as_many_as_cores_stay_as_they_are():
    threads = Threads(len(affinity()) + 1, name="more")
    try:
        threads.keep_apart(apart=True)
        assert cores_of(threads) == [set(affinity())] * (len(affinity()) + 1)
    finally:
        threads.close()


@pytest.mark.skipif(not affinity(), reason="threads are kept on cores where the system offers it")
async def test_threads_that_ended_are_left_out_of_what_is_kept_apart(thread_per_core: Threads):
    thread_per_core.close()
    thread_per_core.keep_apart(apart=True)
    assert not any(thread.is_alive() for thread in thread_per_core._threads)
