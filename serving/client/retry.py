"""When a failed call is made again, and how long that may take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from pipelines.errors import InvalidRequestError, OcellaError, OverloadedError
from serving.client.balance import Rotation

# Pauses vary by a quarter, so that callers that were refused together do not come back together.
SPREAD = 0.25


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how soon; only what the server has refused, or never got, is tried again.

    That is UNAVAILABLE, and RESOURCE_EXHAUSTED for want of room, not by a limit of size. A pause that does not fit
    the call's deadline is not begun: the refusal is raised at once. Streams are never begun again.

    Attributes:
        max_attempts: with the first one.
        first_pause_s: before the second attempt; each later pause is twice as long.
        max_pause_s: longest pause of our own; a server's longer hint is kept.
    """

    max_attempts: int = 4
    first_pause_s: float = 0.05
    max_pause_s: float = 2.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise InvalidRequestError(f"max_attempts must be at least 1, got {self.max_attempts}")
        if not 0 <= self.first_pause_s <= self.max_pause_s:
            raise InvalidRequestError(
                f"pauses must be 0 <= first_pause_s <= max_pause_s, got {self.first_pause_s} and {self.max_pause_s}"
            )

    def pause_s(self, error: OcellaError, attempt: int, spread: Callable[[], float] = random.random) -> float:
        """How long the server that answered attempt number ``attempt`` (from 1) with ``error`` is left alone."""
        own_s = min(self.first_pause_s * 2 ** (attempt - 1), self.max_pause_s)
        hint_s = error.retry_after_s if isinstance(error, OverloadedError) else 0.0
        return max(own_s, hint_s) * (1 + SPREAD * spread())


DEFAULT_RETRY = Retry()


def is_repeatable(code: grpc.StatusCode, error: OcellaError) -> bool:
    """Whether a call that ended so may be made again: the server did nothing yet, or what it did asks to be lost.

    Every method of ``ocella.v1.Vision`` only reads, so a connection that broke in the middle did no harm either.
    """
    return code is grpc.StatusCode.UNAVAILABLE or isinstance(error, OverloadedError)


class Deadline:
    """When a call with all its attempts must be over."""

    def __init__(self, timeout_s: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``None`` is never."""
        self._clock = clock
        self._at = None if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float | None:
        """Seconds that are left, at least 0; ``None`` for no end."""
        return None if self._at is None else max(0.0, self._at - self._clock())

    def allows(self, pause_s: float) -> bool:
        """Whether something can still be done after a pause."""
        left_s = self.left_s()
        return left_s is None or pause_s < left_s


class Attempts:
    """The attempts of one call, over servers in turn."""

    def __init__(self, rotation: Rotation, retry: Retry, deadline: Deadline) -> None:
        self._rotation = rotation
        self._retry = retry
        self._deadline = deadline
        self._made = 0

    def begin(self) -> tuple[int, float | None]:
        """The index of the server to ask, and the seconds that it has."""
        self._made += 1
        return self._rotation.pick(), self._deadline.left_s()

    def answered(self, index: int) -> None:
        """The server has answered."""
        self._rotation.wake(index)

    def wait_s(self, index: int, code: grpc.StatusCode, error: OcellaError) -> float:
        """How long to wait before the next attempt; raises ``error`` where there is none.

        Another server that does not rest is asked at once.
        """
        repeatable = is_repeatable(code, error)
        if repeatable or code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._rotation.rest(index, self._retry.pause_s(error, self._made))
        if not repeatable or self._made >= self._retry.max_attempts:
            raise error
        pause_s = self._rotation.wait_s()
        if not self._deadline.allows(pause_s):
            raise error
        return pause_s
