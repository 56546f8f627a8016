"""What a run has seen so far: counts for progress and metrics, and what the summary shows; of a fixed size."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serving.batch.facts import FactCounts
from serving.batch.outcome import Row
from serving.batch.sampling import MOST, stride, wants

MOST_SLOW = 10
MOST_FAILED = 100


@dataclass(frozen=True)
class Failed:
    """One image without a result."""

    source: str
    reason: str
    message: str


@dataclass(frozen=True)
class Slow:
    """One of the slowest images; ``seconds`` are those of decoding to result, without waiting."""

    seconds: float
    source: str


class Tally:
    """Counts rows; written by one thread, its numbers read by others.

    Attributes:
        ok: rows that have a result.
        failed: rows that have none.
        reasons: how often each error class came.
        classes: what the results hold.
        failures: the first of those that failed.
    """

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.reasons: Counter[str] = Counter()
        self.classes = FactCounts()
        self.failures: list[Failed] = []
        self._slowest: list[tuple[float, int, str, str]] = []
        self._thumbnails: dict[int, tuple[str, bytes]] = {}

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self.ok + self.failed

    def add(self, row: Row) -> None:
        """Count one row."""
        outcome, name = row.outcome, row.entry.text
        if outcome.failure:
            self.failed += 1
            self.reasons[outcome.failure.reason] += 1
            if len(self.failures) < MOST_FAILED:
                self.failures.append(Failed(name, outcome.failure.reason, outcome.failure.message))
            return
        self.ok += 1
        self.classes.add(json.loads(outcome.facts_json))
        if all(outcome.sha256 != sha256 for *_, sha256 in self._slowest):  # a content is named once
            heapq.heappush(self._slowest, (outcome.seconds, -row.position, name, outcome.sha256))
        if len(self._slowest) > MOST_SLOW:
            heapq.heappop(self._slowest)
        if outcome.thumbnail and wants(row.position):
            self._thumbnails[row.position] = (name, outcome.thumbnail)
            if len(self._thumbnails) > MOST:
                step = stride(row.position + 1)
                self._thumbnails = {i: shown for i, shown in self._thumbnails.items() if i % step == 0}

    def slowest(self) -> Sequence[Slow]:
        """The slowest images, slowest first."""
        return [Slow(seconds, name) for seconds, _, name, _ in sorted(self._slowest, reverse=True)]

    def thumbnails(self) -> Sequence[tuple[str, bytes]]:
        """Names and JPEGs for the contact sheet, in order: the same ones whenever the job's length became known."""
        step = stride(self.rows)
        return [self._thumbnails[i] for i in sorted(self._thumbnails) if i % step == 0]
