"""Puts model versions before requests, takes them back, and frees them when their last request is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.errors import ModelNotReadyError
from serving.catalog import Catalog, ModelStatus
from serving.loading import Entry
from serving.logs.entry import event
from serving.metrics import Metrics

_log = logging.getLogger(__name__)
# How often a version on its way out looks whether its last request is done, and how long it waits for that.
_LOOK_S = 0.02
_DRAIN_S = 120.0
Key = tuple[str, int]


def _event(name: str, key: Key, **fields: int) -> dict[str, Any]:
    return event(name, model=key[0], version=key[1], **fields)


class Swap:
    """The loaded versions: those that answer, those kept to go back to, those that end; it belongs to one event loop.

    Attributes:
        entries: what was put, by name and version; one that was taken out for its faults stays here.
        abandoned: sessions left behind with a run that hangs, by name of the model.
    """

    def __init__(self, catalog: Catalog, metrics: Metrics, *, probation_s: float) -> None:
        """``probation_s``: how long the version before is kept after a swap."""
        self.entries: dict[Key, Entry] = {}
        self.abandoned: dict[str, int] = {}
        self._catalog = catalog
        self._metrics = metrics
        self._probation_s = probation_s
        self._suspended: set[Key] = set()
        self._previous: dict[Key, Entry] = {}
        self._ends: dict[Key, asyncio.TimerHandle] = {}
        self._draining: dict[asyncio.Task[None], Entry] = {}
        self._apart = False

    def of(self, name: str) -> list[Entry]:
        """The entries of one model, oldest version first."""
        return [self.entries[key] for key in sorted(self.entries) if key[0] == name]

    def answers(self, entry: Entry) -> bool:
        """Whether requests reach this very entry."""
        return self.entries.get(entry.key) is entry and entry.key not in self._suspended

    def on_probation(self, entry: Entry) -> bool:
        """Whether a version is kept to go back to from this one."""
        return self.entries.get(entry.key) is entry and entry.key in self._previous

    @contextmanager
    def kept_apart(self) -> Iterator[None]:
        """While the block loads a version, the run threads of those that answer have a core each.

        Else two of them may share one for a while, and the load, which counts little, has the other for itself.
        """
        self._apart = True
        for entry in self.entries.values():
            entry.served.keep_apart(apart=True)
        try:
            yield
        finally:
            self._apart = False
            for entry in self._held():
                entry.served.keep_apart(apart=False)

    def put(self, entry: Entry, *, instead_of: Entry | None) -> None:
        """Let ``entry`` answer; what it takes the place of answers no new request.

        That is kept for the probation, unless it had been taken out for its faults.
        """
        fit = instead_of is not None and self.answers(instead_of)
        for key in [key for key, kept in self._previous.items() if kept.key == entry.key]:
            self._end_probation(key)  # going back to it would take the place of this one
        if instead_of is not None:
            self._end_probation(instead_of.key)
            del self.entries[instead_of.key]
            self._suspended.discard(instead_of.key)
        self.entries[entry.key] = entry
        if self._apart:
            entry.served.keep_apart(apart=True)
        self._answer(entry)
        if instead_of is None:
            return
        entry.served.meter.reloaded()
        if instead_of.key != entry.key:
            self._catalog.remove(*instead_of.key)
        if fit:
            self._previous[entry.key] = instead_of
            end = asyncio.get_running_loop().call_later(self._probation_s, self._end_probation, entry.key)
            self._ends[entry.key] = end
        else:
            self._drain(instead_of)

    def fault(self, entry: Entry, reason: str) -> None:
        """Take an entry out that does not answer as it must: back to the version before, if that is still kept.

        Of one that is out already only the reason changes.
        """
        if not self.answers(entry):
            if self.entries.get(entry.key) is entry:
                self._refuse(entry, reason)
            return
        if entry.key in self._previous:
            self._roll_back(entry, reason)
            return
        _log.error("%s %s is taken out: %s", *entry.key, reason, extra=_event("model_taken_out", entry.key))
        self._suspended.add(entry.key)
        self._refuse(entry, reason)

    def resume(self, entry: Entry) -> None:
        """Let an entry answer again that was taken out."""
        if self.entries.get(entry.key) is entry and entry.key in self._suspended:
            _log.info("%s %s answers again", *entry.key, extra=_event("model_back", entry.key))
            self._suspended.discard(entry.key)
            self._answer(entry)

    def abandon(self, entry: Entry) -> None:
        """Leave the runs of an entry behind that hang; it must be taken out, and a fresh one loaded."""
        name, version = entry.key
        left = entry.abandon(ModelNotReadyError(f"{name} version {version} is not ready: a run hangs"))
        self.abandoned[name] = self.abandoned.get(name, 0) + 1
        _log.error("%s %s: %s runs hang, their threads are left behind", name, version, left)

    def retire(self, key: Key) -> None:
        """Let a version answer no new request, and free it after its last one; nothing is known of it any more."""
        self._end_probation(key)
        entry = self.entries.pop(key)
        self._suspended.discard(key)
        entry.served.meter.ready(is_ready=False)
        self._catalog.remove(*key)
        self._drain(entry)

    def forget(self, key: Key) -> None:
        """Show no gauge of a version that was taken away, once none of its entries is left or drains."""
        if not self._catalog.is_wanted(*key) and all(entry.key != key for entry in self._held()):
            self._metrics.forget(*key)

    def close(self) -> None:
        """Free everything; no request is inside any more."""
        for handle in self._ends.values():
            handle.cancel()
        for task in self._draining:
            task.cancel()
        for entry in self._held():
            entry.close()

    def _held(self) -> tuple[Entry, ...]:
        """Those that answer, those kept to go back to, those that end."""
        return (*self.entries.values(), *self._previous.values(), *self._draining.values())

    def _answer(self, entry: Entry) -> None:
        entry.served.show()
        entry.served.meter.ready(is_ready=True)
        self._catalog.put_ready(entry.served)

    def _refuse(self, entry: Entry, reason: str) -> None:
        entry.served.meter.ready(is_ready=False)
        self._catalog.put_status(ModelStatus(*entry.key, entry.served.task, reason))

    def _roll_back(self, failed: Entry, reason: str) -> None:
        key = failed.key
        self._ends.pop(key).cancel()
        previous = self._previous.pop(key)
        what = _event("model_rolled_back", key, to_version=previous.key[1])
        _log.error("%s %s is rolled back to version %s: %s", *key, previous.key[1], reason, extra=what)
        failed.served.meter.rolled_back()
        del self.entries[key]
        self.entries[previous.key] = previous
        if previous.key != key:
            self._refuse(failed, f"rolled back to version {previous.key[1]}: {reason}")
        self._answer(previous)
        self._drain(failed)

    def _end_probation(self, key: Key) -> None:
        handle = self._ends.pop(key, None)
        if handle is not None:
            handle.cancel()
            self._drain(self._previous.pop(key))

    def _drain(self, entry: Entry) -> None:
        task = asyncio.create_task(self._free_when_empty(entry))
        self._draining[task] = entry
        task.add_done_callback(self._drained)

    def _drained(self, task: asyncio.Task[None]) -> None:
        self.forget(self._draining.pop(task).key)

    async def _free_when_empty(self, entry: Entry) -> None:
        end = time.monotonic() + _DRAIN_S
        while entry.served.is_used and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
        if entry.served.is_used:
            entry.abandon(ModelNotReadyError("{} version {} is not ready: a run hangs".format(*entry.key)))
        await asyncio.to_thread(entry.close)  # it waits for threads to end and gives memory back: for milliseconds
