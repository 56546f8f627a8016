"""Whether a loaded model still answers its golden samples as it must, and as soon."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from pipelines.errors import GoldenMismatchError, ModelNotReadyError, OcellaError
from serving.loading import Entry
from serving.reasons import public_reason
from serving.threads import Threads

# A replay is slow where its fastest row takes so many times what it took at load, and so long at least. Requests beside
# it slow it down, too: it is said, and nothing follows from it unless the operator gave a limit.
SLOW_TIMES, SLOW_S = 10.0, 1.0
# Canaries over the operator's limit, one after the other, that are a fault: one alone may have met a busy moment.
LATE_CANARIES = 2
# A third of the weight of a thread that serves: less disturbs requests, but might not end in time on a full server.
NICENESS = 5
_log = logging.getLogger(__name__)


class Judge:
    """Replays golden samples on live sessions, each time on a thread of its own, since a run may hang."""

    def __init__(self, *, timeout_s: float) -> None:
        """``timeout_s``: longest time of one replay."""
        self._timeout_s = timeout_s
        self._limits_ms: dict[str, float] = {}
        self._late: WeakKeyDictionary[Entry, int] = WeakKeyDictionary()

    def allow(self, name: str, *, canary_max_ms: float | None) -> None:
        """From now on a golden row of this model may take so long, of each version of it; ``None``: any time."""
        if canary_max_ms is None:
            self._limits_ms.pop(name, None)
        else:
            self._limits_ms[name] = canary_max_ms

    def doubts(self, entry: Entry) -> bool:
        """Whether the latest canary was late, so that the next one should come soon."""
        return entry in self._late

    async def verdict(self, entry: Entry) -> str:
        """What is wrong, in words fit for clients; empty where all is well, or the entry was freed meanwhile."""
        name, version = entry.key
        threads = Threads(1, name=f"canary-{name}-{version}", niceness=NICENESS)
        meter = entry.served.meter
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                report = await threads.run(entry.canary.replay)
        except Exception as error:  # noqa: BLE001, whatever a faulty model raises is its fault
            if entry.is_closed:
                return ""
            late = OcellaError(f"it must take at most {self._timeout_s:g} s, it takes longer")
            return _failed(entry, late if limit.expired() else error)
        finally:
            threads.abandon(ModelNotReadyError("the golden canary was given up"))
        if entry.is_closed:
            return ""
        meter.canary(report.row_s)
        return self._too_late(entry, report.row_s)

    def _too_late(self, entry: Entry, row_s: float) -> str:
        """What is wrong with the time of a replay whose answers are right."""
        name, version = entry.key
        meter, row_ms, limit_ms = entry.served.meter, row_s * 1000, self._limits_ms.get(entry.key[0])
        if limit_ms is None or row_ms <= limit_ms:
            self._late.pop(entry, None)
            meter.golden("passed")
            at_load_s = entry.canary.row_s_at_load
            if at_load_s is not None and row_s > max(SLOW_S, SLOW_TIMES * at_load_s):
                _log.warning("%s %s: a golden row takes %.3g s, %.3g s at load", name, version, row_s, at_load_s)
            return ""
        late = self._late[entry] = self._late.get(entry, 0) + 1
        meter.golden("late")
        text = f"a golden row must take at most {limit_ms:g} ms, it takes {row_ms:.4g} ms"
        if late < LATE_CANARIES:
            _log.warning("%s %s: %s; the next canary decides", name, version, text)
            return ""
        return f"golden canary late: {text}, {late} canaries in a row"


def _failed(entry: Entry, error: Exception) -> str:
    """What is wrong with an entry whose replay raised ``error``."""
    name, version = entry.key
    entry.served.meter.golden("failed")
    known = isinstance(error, OcellaError)
    text = str(error) if known else f"internal error ({type(error).__name__})"
    step = error.step if isinstance(error, GoldenMismatchError) else "session"
    _log.error("%s %s: golden canary failed (%s): %s", name, version, step, text, exc_info=None if known else error)
    return public_reason(f"golden canary failed: {text}", folder=entry.candidate.folder)
