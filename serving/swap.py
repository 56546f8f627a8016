"""Puts model versions before requests, takes them back, and frees them when their last request is done."""

from __future__ import annotations

import asyncio
import logging
import time

from serving.catalog import Catalog, ModelStatus
from serving.loading import Entry

_log = logging.getLogger(__name__)
# How often a version that is on its way out looks whether its last request is done, and how long it waits for that.
_LOOK_S = 0.02
_DRAIN_S = 120.0


class Swap:
    """The loaded versions: those that answer, those kept to go back to, those that end; it belongs to one event loop.

    Attributes:
        entries: what was put, by name and version; a version that is judged unfit stays here while it cannot answer.
    """

    def __init__(self, catalog: Catalog, *, probation_s: float) -> None:
        """``probation_s``: how long the version before is kept after a swap."""
        self.entries: dict[tuple[str, int], Entry] = {}
        self._catalog = catalog
        self._probation_s = probation_s
        self._previous: dict[tuple[str, int], Entry] = {}
        self._ends: dict[tuple[str, int], asyncio.TimerHandle] = {}
        self._draining: dict[asyncio.Task[None], Entry] = {}

    def of(self, name: str) -> list[Entry]:
        """The entries of one model, oldest version first."""
        return [self.entries[key] for key in sorted(self.entries) if key[0] == name]

    def put(self, entry: Entry, *, instead_of: Entry | None) -> None:
        """Let ``entry`` answer; ``instead_of`` answers no new request and is kept for the probation."""
        key = entry.key
        if instead_of is not None:
            self._end_probation(instead_of.key)
            del self.entries[instead_of.key]
        self.entries[key] = entry
        self._catalog.put_ready(entry.served)
        if instead_of is None:
            return
        if instead_of.key != key:
            self._catalog.remove(*instead_of.key)
        self._previous[key] = instead_of
        self._ends[key] = asyncio.get_running_loop().call_later(self._probation_s, self._end_probation, key)

    def on_probation(self, key: tuple[str, int]) -> bool:
        """Whether there is a version to go back to."""
        return key in self._previous

    def roll_back(self, key: tuple[str, int], reason: str) -> None:
        """Let the version before answer again; ``reason`` says why this one does not."""
        self._ends.pop(key).cancel()
        failed, previous = self.entries.pop(key), self._previous.pop(key)
        _log.error("%s %s is rolled back to version %s: %s", *key, previous.key[1], reason)
        self.entries[previous.key] = previous
        self._catalog.put_ready(previous.served)
        if previous.key != key:
            text = f"rolled back to version {previous.key[1]}: {reason}"
            self._catalog.put_status(ModelStatus(*key, failed.served.task, text))
        self._drain(failed)

    def retire(self, key: tuple[str, int]) -> None:
        """Let a version answer no new request, and free it after its last one; nothing is known of it any more."""
        self._end_probation(key)
        entry = self.entries.pop(key)
        self._catalog.remove(*key)
        self._drain(entry)

    def close(self) -> None:
        """Free everything; no request is inside any more."""
        for handle in self._ends.values():
            handle.cancel()
        for task in self._draining:
            task.cancel()
        for entry in (*self.entries.values(), *self._previous.values(), *self._draining.values()):
            entry.close()

    def _end_probation(self, key: tuple[str, int]) -> None:
        handle = self._ends.pop(key, None)
        if handle is not None:
            handle.cancel()
            self._drain(self._previous.pop(key))

    def _drain(self, entry: Entry) -> None:
        task = asyncio.create_task(_free_when_empty(entry))
        self._draining[task] = entry
        task.add_done_callback(self._draining.pop)


async def _free_when_empty(entry: Entry) -> None:
    end = time.monotonic() + _DRAIN_S
    while entry.served.batcher.inside and time.monotonic() < end:
        await asyncio.sleep(_LOOK_S)
    entry.close()
