"""The requests inside a data plane: each until its deadline, all until an abort."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from pipelines.errors import DeadlineExceededError, DrainingError
from serving.admission import Admission, Claim, Place


class Inside:
    """Counts the requests inside; it belongs to one event loop.

    Attributes:
        longest_s: that a request may be inside.
        aborted: whether all were ended.
    """

    def __init__(self, *, longest_s: float = math.inf) -> None:
        """``longest_s``: that a request may be inside, whatever its deadline."""
        self.longest_s = longest_s
        self._bounds: set[asyncio.Timeout] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.aborted = False

    def enter(self, admission: Admission, claim: Claim) -> Stay:
        """Hold a place in ``admission`` while the block runs, until the claim's deadline or an abort."""
        return Stay(self, admission, claim)

    def arrived(self, bound: asyncio.Timeout) -> None:
        """One more."""
        self._bounds.add(bound)
        self._empty.clear()

    def left(self, bound: asyncio.Timeout) -> None:
        """One less."""
        self._bounds.discard(bound)
        if not self._bounds:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Return once no request is inside."""
        await self._empty.wait()

    def abort(self) -> None:
        """End every request inside with DrainingError."""
        self.aborted = True
        for bound in tuple(self._bounds):
            if not bound.expired():
                bound.reschedule(0)


class Stay(AbstractAsyncContextManager[Place]):
    """One request's time inside; a class, since a generator of contextlib costs each request more.

    Entering raises what ``Admission.enter`` raises; leaving raises DeadlineExceededError or DrainingError where the
    time was over before the block was.
    """

    __slots__ = ("_admission", "_bound", "_claim", "_inside", "_place")

    def __init__(self, inside: Inside, admission: Admission, claim: Claim) -> None:
        self._inside = inside
        self._admission = admission
        self._claim = claim
        # Claims keep their own deadline: no estimate has to judge one that is minutes away.
        end = min(claim.deadline, time.monotonic() + inside.longest_s)
        self._bound = asyncio.timeout_at(None if end == math.inf else end)
        self._place: Place | None = None

    async def __aenter__(self) -> Place:
        self._place = place = self._admission.enter(self._claim)
        self._inside.arrived(self._bound)
        await self._bound.__aenter__()
        return place

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._place is not None
        self._admission.leave(self._place)
        self._inside.left(self._bound)
        try:
            await self._bound.__aexit__(kind, error, trace)
        except TimeoutError:
            if self._inside.aborted:
                raise DrainingError("the server stopped before the answer was ready") from None
            if time.monotonic() < self._claim.deadline:
                raise DeadlineExceededError(
                    f"the {self._inside.longest_s:g} seconds that this server gives a request passed before its answer"
                ) from None
            raise DeadlineExceededError("the deadline passed before the answer was ready") from None
