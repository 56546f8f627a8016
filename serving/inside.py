"""The requests inside a data plane: each until its deadline, all until an abort."""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from pipelines.errors import DeadlineExceededError, DrainingError
from serving.admission import Admission, Claim, Place

# A deadline further away than twice this gets no timer of its own: nearly all requests are answered before. It is
# looked at once in so many seconds, and gets one when it is near.
LOOK_S = 1.0


class Inside:
    """Counts the requests inside; it belongs to one event loop.

    Attributes:
        longest_s: that a request may be inside.
        aborted: whether all were ended.
    """

    def __init__(self, *, longest_s: float = math.inf) -> None:
        """``longest_s``: that a request may be inside, whatever its deadline."""
        self.longest_s = longest_s
        self._bounds: dict[asyncio.Timeout, float] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._looks = False
        self.aborted = False

    def enter(self, admission: Admission, claim: Claim) -> Stay:
        """Hold a place in ``admission`` while the block runs, until the claim's deadline or an abort."""
        return Stay(self, admission, claim)

    def arrived(self, bound: asyncio.Timeout, end: float) -> None:
        """One more, which must end at ``end``, seconds of the loop's clock: as ``bound`` says, or will say in time."""
        self._bounds[bound] = end
        self._empty.clear()
        if not self._looks and end < math.inf:
            self._look_later()

    def left(self, bound: asyncio.Timeout) -> None:
        """One less."""
        del self._bounds[bound]
        if not self._bounds:
            self._empty.set()

    def _look_later(self) -> None:
        self._looks = True
        asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Give a timer to each bound whose end is near and that has none."""
        self._looks = False
        near = asyncio.get_running_loop().time() + 2 * LOOK_S
        for bound, end in self._bounds.items():
            if end < near and bound.when() is None and not bound.expired():
                bound.reschedule(end)
        if self._bounds:
            self._look_later()

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

    __slots__ = ("_admission", "_bound", "_claim", "_end", "_inside", "_place")

    def __init__(self, inside: Inside, admission: Admission, claim: Claim) -> None:
        self._inside = inside
        self._admission = admission
        self._claim = claim
        # Claims keep their own deadline: no estimate has to judge one that is minutes away.
        now = asyncio.get_running_loop().time()
        self._end = min(claim.deadline, now + inside.longest_s)
        self._bound = asyncio.timeout_at(self._end if self._end < now + 2 * LOOK_S else None)
        self._place: Place | None = None

    async def __aenter__(self) -> Place:
        self._place = place = self._admission.enter(self._claim)
        await self._bound.__aenter__()
        self._inside.arrived(self._bound, self._end)
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
            if self._end < self._claim.deadline:
                raise DeadlineExceededError(
                    f"the {self._inside.longest_s:g} seconds that this server gives a request passed before its answer"
                ) from None
            raise DeadlineExceededError("the deadline passed before the answer was ready") from None
