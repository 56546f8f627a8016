"""Watches over the models that answer: golden canaries, failing requests, runs that hang."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakKeyDictionary

from serving.breaker import Breaker
from serving.judge import Judge
from serving.lifecycle import Lifecycle
from serving.loading import Entry
from serving.swap import Swap

_log = logging.getLogger(__name__)
HANGS = "a run hangs"
# Sessions of one model that may be left behind before the process should be restarted: each holds memory and a thread.
MOST_ABANDONED = 2
_LONGEST_TICK_S = 1.0
_MOST_TO_END_S = 5.0


@dataclass(frozen=True, kw_only=True)
class GuardPolicy:
    """How models are judged; see the settings of the same names.

    Attributes:
        canary_interval_s: between two replays; 0: none.
        hang_s: longest run.
        breaker_calls: latest requests that count.
        breaker_rate: part of them that must fail.
        breaker_wait_s: from a fault to the canary that may end it, and from a late canary to the one that confirms it.
    """

    canary_interval_s: float
    hang_s: float
    breaker_calls: int
    breaker_rate: float
    breaker_wait_s: float

    @property
    def end_s(self) -> float:
        """How long a run that was told to end may take for that."""
        return min(_MOST_TO_END_S, self.hang_s)


@dataclass
class _Watch:
    """What is known of one entry: its breaker, when its next canary is due, the task that sees to it."""

    breaker: Breaker
    due: float
    task: asyncio.Task[None] | None = None
    abandoned: bool = False

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class Guard:
    """Works while it is entered; one model's trouble never changes what another one answers."""

    def __init__(self, swap: Swap, lifecycle: Lifecycle, judge: Judge, policy: GuardPolicy) -> None:
        self._swap = swap
        self._lifecycle = lifecycle
        self._judge = judge
        self._policy = policy
        self._watches: WeakKeyDictionary[Entry, _Watch] = WeakKeyDictionary()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [self._loop, *(watch.task for watch in self._watches.values() if watch.task)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    @property
    def alive(self) -> bool:
        """Whether the process need not be restarted."""
        return all(count < MOST_ABANDONED for count in self._swap.abandoned.values())

    def record(self, name: str, version: int, *, ok: bool) -> None:
        """Count a request that a model answered, or failed by its own fault."""
        entry = self._swap.entries.get((name, version))
        if entry is None:
            return
        watch = self._of(entry)
        if watch.breaker.record(ok=ok):
            watch.due = time.monotonic() + self._policy.breaker_wait_s
            self._swap.fault(entry, watch.breaker.words)

    async def _watch(self) -> None:
        policy = self._policy
        tick_s = min(_LONGEST_TICK_S, policy.hang_s / 4, policy.canary_interval_s or math.inf)
        while True:
            await asyncio.sleep(tick_s)
            for entry in list(self._swap.entries.values()):
                try:
                    self._see_to(entry, self._of(entry), time.monotonic())
                except Exception:  # noqa: BLE001, one model's trouble must not end the watch over the others
                    _log.exception("%s %s could not be seen to", *entry.key)

    def _of(self, entry: Entry) -> _Watch:
        watch = self._watches.get(entry)
        if watch is None:
            breaker = Breaker(calls=self._policy.breaker_calls, failure_rate=self._policy.breaker_rate)
            watch = self._watches[entry] = _Watch(breaker, self._next_canary())
        return watch

    def _next_canary(self) -> float:
        return time.monotonic() + (self._policy.canary_interval_s or math.inf)

    def _see_to(self, entry: Entry, watch: _Watch, now: float) -> None:
        for run in entry.session.hung(self._policy.hang_s):
            run.terminate()
        if not watch.abandoned and entry.session.hung(self._policy.hang_s + self._policy.end_s):
            watch.abandoned = True
            self._swap.fault(entry, HANGS)
            self._swap.abandon(entry)
            watch.due = now
            if watch.task:
                watch.task.cancel()  # a canary of the session that was left behind
                watch.task = None
        if self._judge.doubts(entry):
            watch.due = min(watch.due, now + self._policy.breaker_wait_s)
        if now < watch.due or watch.busy:
            return
        if watch.abandoned:
            watch.due = now + self._policy.breaker_wait_s
            self._start(watch, self._lifecycle.renew(entry))
        elif not self._must_wait(entry, watch, now):
            self._start(watch, self._try(entry, watch))

    def _must_wait(self, entry: Entry, watch: _Watch, now: float) -> bool:
        """A canary of a model that answers lets requests go first, for one interval at most."""
        late = now - watch.due
        return self._swap.answers(entry) and entry.served.waiting > 0 and late < self._policy.canary_interval_s

    async def _try(self, entry: Entry, watch: _Watch) -> None:
        fault = await self._judge.verdict(entry)
        if not self._swap.answers(entry):
            watch.breaker.close()
        if fault:
            self._swap.fault(entry, fault)
            watch.due = time.monotonic() + self._policy.breaker_wait_s
        else:
            watch.due = self._next_canary()
            self._swap.resume(entry)

    def _start(self, watch: _Watch, work: Coroutine[Any, Any, None]) -> None:
        watch.task = asyncio.create_task(work)
