"""A fixed number of threads that work for one event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from serving.cpu import affinity

T = TypeVar("T")
Job = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
# An idle thread ends at once; one in the middle of a call that hangs must not hold up a stop for longer.
_JOIN_S = 1.0


class Threads:
    """Runs calls in the order in which they come; made inside the loop that they answer to.

    It does what ``loop.run_in_executor`` does at a third of its cost (14 against 58 us of CPU a call with 8 at once):
    a call is one queue entry and comes back with one wake-up of the loop, without a second future in between.
    """

    def __init__(self, count: int, *, name: str, niceness: int = 0) -> None:
        """``niceness``: how far these threads stand back behind the process's others, up to 19; on Linux alone.

        Threads that a call makes inherit it, and only root could take it back.
        """
        self._niceness = niceness
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._open = True
        self._under_way: set[asyncio.Future[Any]] = set()
        self._abandoned: BaseException | None = None
        # Daemons: a native call that never returns cannot be ended, and must not keep the process alive.
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call on a thread; a future that is cancelled before its turn is never called."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._abandoned is not None:
            future.set_exception(self._abandoned)
            return future
        if not self._open:
            raise RuntimeError("the threads are closed")
        self._jobs.put((future, call, arguments))
        return future

    def close(self, *, wait: bool = True) -> None:
        """Begin no further call, cancel those that wait, and give those under way a second to end.

        ``wait``: without it nobody waits for them; for threads that stand back, which a busy machine may leave standing
        for long, and the loop with them.
        """
        self._open = False
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if not wait:
            return
        end = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def keep_apart(self, *, apart: bool) -> None:
        """Keep each thread on a core of its own, or let all of them run anywhere again.

        Nothing where there is not one thread for each core of the process, and on systems without affinity.
        """
        cores = affinity()
        if len(cores) != len(self._threads):
            return
        for thread, core in zip(self._threads, cores, strict=True):
            if thread.native_id is not None and thread.is_alive():
                with suppress(OSError):  # it ended meanwhile
                    os.sched_setaffinity(thread.native_id, {core} if apart else cores)

    def abandon(self, error: BaseException) -> int:
        """Leave calls that hang behind: they, those that wait and those to come fail with ``error``.

        Returns how many threads are left behind. They end when their calls do, if ever.
        """
        self._abandoned = error
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                _fail(job[0], error)
        left = [future for future in tuple(self._under_way) if not future.done()]
        for future in left:
            _fail(future, error)
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()
        return len(left)

    def _work(self) -> None:
        if self._niceness and sys.platform == "linux":  # elsewhere it would be that of the whole process
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + self._niceness))
        while (job := self._jobs.get()) is not None:
            future, call, arguments = job
            if not future.cancelled():
                self._under_way.add(future)
                self._answer(future, call, arguments)
                self._under_way.discard(future)
            del job, future, call, arguments  # an idle thread keeps no image alive

    def _answer(self, future: asyncio.Future[Any], call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            result = call(*arguments)
        except BaseException as error:  # noqa: BLE001, it is raised where the call is awaited
            self._wake(_fail, future, error)
        else:
            self._wake(_succeed, future, result)

    def _wake(self, settle: Callable[..., None], future: asyncio.Future[Any], value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(settle, future, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if future.done():
        return
    # A future cannot hold StopIteration, which would end the generator that awaits it.
    future.set_exception(RuntimeError("the call raised StopIteration") if isinstance(error, StopIteration) else error)
