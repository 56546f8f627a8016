"""One stream of requests: answered in order, a bounded window of them in work at once, ended when the server drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import grpc.aio

Q = TypeVar("Q")
A = TypeVar("A")


class OrderedStream(Generic[Q, A]):
    """Reads requests and writes answers of one call."""

    def __init__(self, context: Any, draining: asyncio.Event) -> None:
        """``context`` is gRPC's of a call whose requests come from ``read()``; ``draining`` ends the reading."""
        self._context = context
        self._draining = draining
        self._started: asyncio.Queue[asyncio.Task[A] | None] = asyncio.Queue()

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

    async def serve(self, first: Q | None, answer: Callable[[Q], Coroutine[Any, Any, A]], *, window: int) -> None:
        """Answer ``first`` and all that follow; ``answer`` must not raise.

        At most ``window`` requests are in work ahead of the answer that the client has yet to take: the server reads
        no further, and gRPC's flow control carries that back to the sender.
        """
        room = asyncio.Semaphore(window)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_each(tasks, first, answer, room))
            while (started := await self._started.get()) is not None:
                await self._context.write(await started)
                room.release()

    async def _start_each(
        self,
        tasks: asyncio.TaskGroup,
        request: Q | None,
        answer: Callable[[Q], Coroutine[Any, Any, A]],
        room: asyncio.Semaphore,
    ) -> None:
        """Start each request when the window has room; so the queue of started ones holds at most a window."""
        while request is not None:
            await room.acquire()
            self._started.put_nowait(tasks.create_task(answer(request)))
            request = await self.read()
        self._started.put_nowait(None)
