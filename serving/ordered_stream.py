"""One stream of requests: answered in order, a bounded window of them in work at once, ended when the server drains."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

import grpc.aio

from serving.calls import SET_ASIDE

Q = TypeVar("Q")
A = TypeVar("A")
Begin: TypeAlias = Callable[[], None]
"""To be called when the work on a request begins, from when on it is not dropped any more."""

# So many answers beyond its window may wait to be taken, then a stream that drops reads no further: those to dropped
# requests must not grow where a client never reads.
MAX_BACKLOG = 256


class _Frame(Generic[Q, A]):
    """One request's place in the order."""

    __slots__ = ("answer", "begun", "request", "task")

    def __init__(self, request: Q, answer: asyncio.Future[A]) -> None:
        self.request: Q | None = request
        self.answer = answer
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From here on it is not dropped."""
        self.begun = True

    def settle(self, answer: A) -> None:
        """Answer it, unless it was dropped; the request's memory is free from here on."""
        self.request = None
        if not self.answer.done():
            self.answer.set_result(answer)


class OrderedStream(Generic[Q, A]):
    """Reads requests and writes answers of one call.

    At most ``window`` requests are in work ahead of the answer that the client has yet to take. What comes then waits:
    the server reads no further, and gRPC's flow control carries that back to the sender. Or, with ``drop``, the oldest
    request whose work has not begun is dropped for it; where all have begun, one request waits for room, the newest.
    """

    def __init__(self, context: Any, draining: asyncio.Event) -> None:
        """``context`` is gRPC's of a call whose requests come from ``read()``; ``draining`` ends the reading."""
        self._context = context
        self._draining = draining
        self._in_order: asyncio.Queue[_Frame[Q, A] | None] = asyncio.Queue()
        self._window: deque[_Frame[Q, A]] = deque()
        self._newest: _Frame[Q, A] | None = None
        self._room = asyncio.Event()

    async def read(self) -> Q | None:
        """The next request; ``None`` where the client sends no more or the server drains."""
        read = asyncio.ensure_future(self._context.read())
        drain = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait((read, drain), return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                return None
            request = read.result()
            return None if request is grpc.aio.EOF else request  # type: ignore[attr-defined]  # grpc-stubs lack it
        finally:
            read.cancel()
            drain.cancel()

    async def serve(
        self,
        first: Q | None,
        answer: Callable[[Q, Begin], Coroutine[Any, Any, A]],
        *,
        window: int,
        drop: Callable[[Q], A] | None = None,
    ) -> None:
        """Answer ``first`` and all that follow.

        Args:
            first: as read; ``None``: there is nothing to answer.
            answer: of one request; must not raise, and may be cancelled until it says that it begins.
            window: most requests in work.
            drop: the answer of a request that is dropped; without it none is.
        """
        async with asyncio.TaskGroup() as tasks:

            def start(frame: _Frame[Q, A]) -> None:
                self._window.append(frame)
                frame.task = tasks.create_task(_work(frame, answer))

            tasks.create_task(self._read_all(first, start, window, drop))
            while (frame := await self._in_order.get()) is not None:
                await self._context.write(await frame.answer)
                self._leave(frame, start)

    async def _read_all(
        self, request: Q | None, start: Callable[[_Frame[Q, A]], None], window: int, drop: Callable[[Q], A] | None
    ) -> None:
        loop = asyncio.get_running_loop()
        while request is not None:
            frame: _Frame[Q, A] = _Frame(request, loop.create_future())
            del request  # where it is dropped, its memory is free
            if drop and len(self._window) >= window:
                self._make_way(drop)
            while not drop and len(self._window) >= window:
                await self._wait_for_room()
            self._in_order.put_nowait(frame)
            if len(self._window) < window:
                start(frame)
            else:
                self._newest = frame
            while drop and self._in_order.qsize() >= window + MAX_BACKLOG:
                await self._wait_for_room()
            request = await self.read()
        self._in_order.put_nowait(None)

    def _make_way(self, drop: Callable[[Q], A]) -> None:
        """Drop the oldest request that has not begun, where there is one."""
        if self._newest is not None:  # while it waits, all of the window have begun
            _drop(self._newest, drop)
            self._newest = None
            return
        idle = next((frame for frame in self._window if not frame.begun and not frame.answer.done()), None)
        if idle is not None:
            _drop(idle, drop)
            self._window.remove(idle)

    async def _wait_for_room(self) -> None:
        """Return once an answer is taken."""
        self._room.clear()
        await self._room.wait()

    def _leave(self, frame: _Frame[Q, A], start: Callable[[_Frame[Q, A]], None]) -> None:
        """The client has taken a request's answer."""
        self._room.set()
        if frame in self._window:
            self._window.remove(frame)
            if self._newest is not None:
                start(self._newest)
                self._newest = None


async def _work(frame: _Frame[Q, A], answer: Callable[[Q, Begin], Coroutine[Any, Any, A]]) -> None:
    assert frame.request is not None, "not yet answered"
    frame.settle(await answer(frame.request, frame.begin))


def _drop(frame: _Frame[Q, A], drop: Callable[[Q], A]) -> None:
    assert frame.request is not None, "not yet answered"
    frame.settle(drop(frame.request))
    if frame.task is not None:
        frame.task.cancel(SET_ASIDE)
