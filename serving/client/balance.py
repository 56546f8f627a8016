"""Which of several servers is asked next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Rotation:
    """Servers in turn; one that failed rests for a while, unless all do. Threads may share it."""

    def __init__(self, count: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0
        self._rests_until = [0.0] * count

    def pick(self) -> int:
        """The index of the next server that does not rest, else of the one whose rest ends first."""
        with self._lock:
            now, count = self._clock(), len(self._rests_until)
            in_turn = [(self._next + step) % count for step in range(count)]
            awake = [index for index in in_turn if self._rests_until[index] <= now]
            picked = awake[0] if awake else min(in_turn, key=self._rests_until.__getitem__)
            self._next = (picked + 1) % count
            return picked

    def rest(self, index: int, pause_s: float) -> None:
        """Leave a server alone for ``pause_s``."""
        with self._lock:
            self._rests_until[index] = self._clock() + pause_s

    def wake(self, index: int) -> None:
        """A server has answered."""
        if self._rests_until[index]:
            with self._lock:
                self._rests_until[index] = 0.0

    def wait_s(self) -> float:
        """Seconds until a server does not rest; 0 where one does not."""
        with self._lock:
            return max(0.0, min(self._rests_until) - self._clock())
