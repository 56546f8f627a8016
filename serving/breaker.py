"""Opens when too many of a model's latest requests failed by its own fault."""

from __future__ import annotations

from collections import deque


class Breaker:
    """Counts outcomes; once open it stays open until ``close``, whatever is recorded.

    Attributes:
        is_open: whether the model should answer no more.
    """

    def __init__(self, *, calls: int, failure_rate: float) -> None:
        """Opens when of the last ``calls``, all of which have been made, at least ``failure_rate`` failed."""
        self.is_open = False
        self._outcomes: deque[bool] = deque(maxlen=calls)
        self._failure_rate = failure_rate
        self._failures = 0

    def record(self, *, ok: bool) -> bool:
        """Count one outcome; whether it opened the breaker."""
        outcomes = self._outcomes
        if len(outcomes) == outcomes.maxlen:
            self._failures -= not outcomes[0]
        outcomes.append(ok)
        self._failures += not ok
        if self.is_open or len(outcomes) < (outcomes.maxlen or 0):
            return False
        self.is_open = self._failures >= self._failure_rate * len(outcomes)
        return self.is_open

    @property
    def words(self) -> str:
        """What was counted, for people."""
        return f"{self._failures} of the last {len(self._outcomes)} requests failed"

    def close(self) -> None:
        """Start anew."""
        self.is_open = False
        self._failures = 0
        self._outcomes.clear()
