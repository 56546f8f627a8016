"""A call whose gRPC connection is held by another process: what our handlers ask of their context, answered here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from grpc import StatusCode

from serving.arrivals import Arrivals
from serving.ray.messages import Question
from serving.ray.wire import read_failure
from serving.request_id import REQUEST_ID
from serving.status import Failure
from serving.wire import STATUS_DETAILS_KEY


class RefusedError(Exception):
    """A handler has ended its call with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Known:
    """A call that has its id.

    Attributes:
        question: with the id among its metadata.
        headers: that its caller is told.
    """

    question: Question
    headers: Sequence[tuple[str, str]]


def know(question: Question) -> Known:
    """Read a call's id and trace, or give it an id; the running task answers it from here on."""
    arrival = Arrivals().grpc(HandedCall(question), "grpc")
    others = [pair for pair in question.metadata if pair[0] != REQUEST_ID]
    return Known(replace(question, metadata=(*others, (REQUEST_ID, arrival.request_id))), arrival.headers)


class HandedCall:
    """The part of ``grpc.aio.ServicerContext`` that our handlers use, for one call."""

    def __init__(
        self,
        question: Question,
        *,
        read: Callable[[], Awaitable[Any]] | None = None,
        write: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """``read`` and ``write``: of a stream."""
        self._question = question
        self._arrival = time.monotonic()
        self.read = read
        self.write = write

    def peer(self) -> str:
        """Who asks."""
        return self._question.peer

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came with the call."""
        return self._question.metadata

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """What goes back with the answer; the router that has the call tells its caller the same."""

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, at least 0; ``None`` where there is none."""
        left_s = self._question.remaining_s
        return None if left_s is None else max(0.0, left_s - (time.monotonic() - self._arrival))

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, Any]] = ()
    ) -> NoReturn:
        """End the call; raises RefusedError."""
        raise RefusedError(read_failure(code, details, dict(trailing_metadata).get(STATUS_DETAILS_KEY, b"")))


class Outlet:
    """Answers of one call on their way from the handler that writes them to the iteration that hands them on."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)

    async def write(self, data: bytes) -> None:
        """Hand one answer on; returns once the one before is taken."""
        await self._waiting.put(data)

    async def drain(self, work: Awaitable[None]) -> AsyncIterator[bytes]:
        """What ``work`` writes while it runs; raises what it raises, and cancels it where the iteration is left."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                taken = asyncio.ensure_future(self._waiting.get())
                try:
                    await asyncio.wait((task, taken), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not taken.done():
                        taken.cancel()
                if taken.done() and not taken.cancelled():
                    yield taken.result()
                    continue
                break
            while not self._waiting.empty():
                yield self._waiting.get_nowait()
            task.result()
        finally:
            task.cancel()
            await asyncio.wait((task,))
