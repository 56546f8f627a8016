"""Whether a loaded model still answers its golden samples as it must."""

from __future__ import annotations

import asyncio
import logging

from pipelines.errors import GoldenMismatchError, ModelNotReadyError, OcellaError
from serving.loading import Entry
from serving.reasons import public_reason
from serving.threads import Threads

# A replay is slow where its fastest row takes so many times what it took at load, and so long at least. Requests beside
# it slow it down, too: it is said, and nothing follows from it.
SLOW_TIMES, SLOW_S = 10.0, 1.0
# A third of the weight of a thread that serves: less disturbs requests, but might not end in time on a full server.
NICENESS = 5
_log = logging.getLogger(__name__)


class Judge:
    """Replays golden samples on live sessions, each time on a thread of its own, since a run may hang."""

    def __init__(self, *, timeout_s: float) -> None:
        """``timeout_s``: longest time of one replay."""
        self._timeout_s = timeout_s

    async def verdict(self, entry: Entry) -> str:
        """What is wrong, in words fit for clients; empty where all is well."""
        name, version = entry.key
        threads = Threads(1, name=f"canary-{name}-{version}", niceness=NICENESS)
        meter = entry.served.meter
        try:
            async with asyncio.timeout(self._timeout_s):
                report = await threads.run(entry.canary.replay)
        except TimeoutError:
            meter.golden("failed")
            return f"golden canary failed: it must take at most {self._timeout_s:g} s, it takes longer"
        except Exception as error:  # noqa: BLE001, whatever a faulty model raises is its fault
            meter.golden("failed")
            known = isinstance(error, OcellaError)
            text = str(error) if known else f"internal error ({type(error).__name__})"
            step = error.step if isinstance(error, GoldenMismatchError) else "session"
            _log.error(
                "%s %s: golden canary failed (%s): %s", name, version, step, text, exc_info=None if known else error
            )
            return public_reason(f"golden canary failed: {text}", folder=entry.candidate.folder)
        finally:
            threads.abandon(ModelNotReadyError("the golden canary was given up"))
        meter.golden("passed")
        meter.canary(report.row_s)
        first = entry.served.loaded.golden
        if first and report.row_s > max(SLOW_S, SLOW_TIMES * first.row_s):
            _log.warning("%s %s: a golden row takes %.3g s, %.3g s at load", name, version, report.row_s, first.row_s)
        return ""
