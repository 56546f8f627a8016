"""Who comes in: bounds in rows and bytes, deadlines that can be met, and turns at the pixel threads."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.errors import DeadlineExceededError, InvalidRequestError, OverloadedError
from serving.estimate import ServiceTimes
from serving.fairness import FairQueue, Priority

MIN_RETRY_S = 0.01
# Of the time to a deadline, what an estimate may fill: its wait is a sum of medians, and half of all waits are longer.
HEADROOM = 0.85


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may be inside at once.

    Attributes:
        rows: most rows, those that run included.
        bytes: most bytes of encoded images and tensors; a lone request may bring more.
        window: most images that are being prepared, or are prepared and wait for a run. The others wait as they came:
            an encoded image takes a tenth of its row's memory, and whose deadline passes is never decoded.
    """

    rows: int
    bytes: int
    window: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What one request asks for.

    Attributes:
        rows: of the batch.
        bytes: that it holds while it is inside.
        image: it has to be decoded first.
        deadline: seconds of the loop's clock.
        priority: of its turns.
        client: who asks.
        begin: called when its work begins, and no sooner.
    """

    rows: int = 1
    bytes: int = 0
    image: bool = False
    deadline: float = math.inf
    priority: Priority = Priority.NORMAL
    client: str = ""
    begin: Callable[[], None] | None = None


class Place:
    """One request inside, and how far it has come.

    Attributes:
        claim: as admitted.
        idle_rows: not yet in a run.
        running_rows: in a run.
        in_window: counts as being prepared, or prepared and waiting.
        waiter: what its task waits for while it can still be sent away.
    """

    __slots__ = ("claim", "idle_rows", "in_window", "running_rows", "waiter")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.idle_rows = claim.rows
        self.running_rows = 0
        self.in_window = False
        self.waiter: asyncio.Future[Any] | None = None


class Admission:
    """The front of one model version's queue; it belongs to one event loop.

    Attributes:
        inside: rows that hold a place.
        bytes: that they hold.
        in_window: images that are being prepared, or are prepared and wait.
    """

    def __init__(self, bounds: Bounds, times: ServiceTimes, *, clock: Callable[[], float]) -> None:
        self.inside = 0
        self.bytes = 0
        self.in_window = 0
        self._bounds = bounds
        self._times = times
        self._clock = clock
        self._idle_rows: dict[Priority, Counter[str]] = {priority: Counter() for priority in Priority}
        self._running_rows = 0
        self._waiting: FairQueue[Place] = FairQueue()
        self._places: dict[str, dict[Place, None]] = {}

    @property
    def waiting(self) -> bool:
        """Whether images wait for their turn at the pixel threads."""
        return bool(self._waiting)

    def enter(self, claim: Claim) -> Place:
        """Hold a place until ``leave``.

        Raises:
            InvalidRequestError: more rows than there are places.
            OverloadedError: too many rows or bytes are inside, or its turn would come after its deadline.
            DeadlineExceededError: its deadline is sooner than an idle server could answer.
        """
        if claim.rows > self._bounds.rows:
            raise InvalidRequestError(f"a request must have at most {self._bounds.rows} rows, got {claim.rows}")
        if claim.deadline < math.inf:
            self._check_time(claim)
        if self.inside + claim.rows > self._bounds.rows and not self._shed_for(claim):
            raise self._overloaded(
                f"at most {self._bounds.rows} requests may be inside, {self.inside} are", "queue_full"
            )
        if self.inside and self.bytes + claim.bytes > self._bounds.bytes:
            raise self._overloaded(
                f"at most {self._bounds.bytes:,} bytes may be inside, {self.bytes:,} are and {claim.bytes:,} came",
                "queue_bytes",
            )
        place = Place(claim)
        self.inside += claim.rows
        self.bytes += claim.bytes
        self._idle_rows[claim.priority][claim.client] += claim.rows
        self._places.setdefault(claim.client, {})[place] = None
        return place

    def leave(self, place: Place) -> None:
        """Give a place back, however far its request came."""
        claim = place.claim
        self.inside -= claim.rows
        self.bytes -= claim.bytes
        self._no_longer_idle(claim, place.idle_rows)
        self._running_rows -= place.running_rows
        place.idle_rows = place.running_rows = 0
        of_client = self._places[claim.client]
        del of_client[place]
        if not of_client:
            del self._places[claim.client]
        self._out_of_window(place)

    async def turn(self, place: Place) -> None:
        """Wait until the image may be decoded: at once where the window has room and nobody waits.

        Raises DeadlineExceededError where too little time is left for an answer, OverloadedError where the place went
        to a client that holds fewer.
        """
        claim = place.claim
        if self._waiting or self.in_window >= self._bounds.window:
            place.waiter = asyncio.get_running_loop().create_future()
            self._waiting.push(place, priority=claim.priority, client=claim.client)
            try:
                await place.waiter
            except BaseException:
                if not self._waiting.remove(place, priority=claim.priority, client=claim.client):
                    self._out_of_window(place)
                raise
            finally:
                place.waiter = None
        else:
            self._into_window(place)
        self.check_left(claim)
        if claim.begin is not None:
            claim.begin()

    def check_left(self, claim: Claim) -> None:
        """Raise DeadlineExceededError where less time is left than an idle server needs."""
        if claim.deadline - self._clock() < self._least_s(claim):
            raise too_late()

    def started(self, place: Place, rows: int) -> None:
        """So many of a place's rows are in a run now."""
        place.idle_rows -= rows
        place.running_rows += rows
        self._no_longer_idle(place.claim, rows)
        self._running_rows += rows
        self._out_of_window(place)

    def ended(self, place: Place, rows: int) -> None:
        """The run of so many of a place's rows is over."""
        if place.running_rows:  # else it has left before
            place.running_rows -= rows
            self._running_rows -= rows

    def _check_time(self, claim: Claim) -> None:
        now = self._clock()
        left_s = claim.deadline - now
        if left_s <= 0:
            raise DeadlineExceededError("the deadline passed before the request arrived")
        least_s = self._least_s(claim)
        if left_s < least_s:
            raise DeadlineExceededError(
                f"the deadline must leave at least {least_s * 1000:.1f} ms, which an idle server takes, "
                f"it leaves {left_s * 1000:.1f} ms"
            )
        if not self.inside or not self._times.is_fresh(now):
            return
        estimate_s = self._times.answer_s(
            claim.rows, image=claim.image, rows_ahead=self._rows_ahead(claim), rows_running=self._running_rows
        )
        if estimate_s > left_s * HEADROOM:
            raise OverloadedError(
                f"an answer would take about {estimate_s * 1000:.0f} ms, the deadline is in {left_s * 1000:.0f} ms",
                retry_after_s=max(MIN_RETRY_S, estimate_s - left_s * HEADROOM),
                reason="deadline",
            )

    def _least_s(self, claim: Claim) -> float:
        return self._times.least_s(claim.rows, image=claim.image) if self._times.is_fresh(self._clock()) else 0.0

    def _rows_ahead(self, claim: Claim) -> int:
        """Rows whose turn comes first: its client's own, as many of each other client, and all of higher priority."""
        level = self._idle_rows[claim.priority]
        own = level.get(claim.client, 0)
        fair = own + sum(min(rows, own + claim.rows) for client, rows in level.items() if client != claim.client)
        return fair if claim.priority is Priority.HIGH else fair + self._idle_rows[Priority.HIGH].total()

    def _no_longer_idle(self, claim: Claim, rows: int) -> None:
        level = self._idle_rows[claim.priority]
        level[claim.client] -= rows
        if not level[claim.client]:
            del level[claim.client]

    def _shed_for(self, claim: Claim) -> bool:
        """Send away the newest waiting request of the client that holds the most, where that is fairer."""
        _, most = max(self._places.items(), key=lambda item: len(item[1]))
        if len(most) <= len(self._places.get(claim.client, ())) + 1:
            return False
        for place in reversed(most):
            waiter = place.waiter
            if place.claim.rows >= claim.rows and waiter is not None and not waiter.done():
                waiter.set_exception(self._overloaded("its place went to a client that holds fewer", "shed"))
                return True
        return False

    def _overloaded(self, message: str, reason: str) -> OverloadedError:
        """The hint: when about half of what is inside will have left."""
        half_s = self._times.answer_s(1, image=False, rows_ahead=self.inside // 2, rows_running=0)
        return OverloadedError(message, retry_after_s=max(MIN_RETRY_S, half_s), reason=reason)

    def _into_window(self, place: Place) -> None:
        place.in_window = True
        self.in_window += 1

    def _out_of_window(self, place: Place) -> None:
        if not place.in_window:
            return
        place.in_window = False
        self.in_window -= 1
        while self._waiting and self.in_window < self._bounds.window:
            following = self._waiting.pop()
            if following.waiter is not None and not following.waiter.done():
                self._into_window(following)
                following.waiter.set_result(None)


def too_late() -> DeadlineExceededError:
    """The error of work that is not begun."""
    return DeadlineExceededError("the deadline would pass before the answer is ready: too little time is left")
