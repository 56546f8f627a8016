"""Draws entries from the sources on a thread of its own, a few at a time, with what the journal knows of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from pipelines.errors import OcellaError
from serving.batch.entry import Entry
from serving.batch.outcome import Outcome
from serving.batch.shard import Shard
from serving.threads import Threads

_AT_ONCE = 32
_IN_TURN_AT_ONCE = 2  # each holds an image: a frame of a film is some megabytes


@dataclass(frozen=True, eq=False)
class Drawn:
    """One entry of ours.

    Attributes:
        index: among all entries of the sources, those of other shards counted.
        position: among those of this shard.
        entry: the image.
        known: its outcome, where an earlier run has it.
        read: for an entry that can only be read in its turn, its bytes or why there are none; else ``None``.
    """

    index: int
    position: int
    entry: Entry
    known: Outcome | None
    read: bytes | Exception | None


class Feed:
    """The entries of a job's shard in order; iterate it once, then close it."""

    def __init__(self, sources: Iterable[Entry], shard: Shard, known: Callable[[Entry], Outcome | None]) -> None:
        """``known``: what is known of an entry that has not changed."""
        ours = ((i, entry) for i, entry in enumerate(sources) if shard.takes(entry.name))
        self._entries = enumerate(ours)
        self._known = known
        self._threads = Threads(1, name="sources")

    async def __aiter__(self) -> AsyncIterator[Drawn]:
        ahead = self._threads.run(self._take)
        while drawn := await ahead:
            ahead = self._threads.run(self._take)  # the sources are walked while these are worked on
            for one in drawn:
                yield one

    def close(self) -> None:
        """Draw no more."""
        self._threads.close()

    def _take(self) -> list[Drawn]:
        drawn: list[Drawn] = []
        for position, (index, entry) in islice(self._entries, _AT_ONCE):
            known = self._known(entry)
            read = _read(entry) if entry.in_turn and known is None else None
            drawn.append(Drawn(index, position, entry, known, read))
            if read is not None and len(drawn) >= _IN_TURN_AT_ONCE:
                break
        return drawn


def _read(entry: Entry) -> bytes | Exception:
    try:
        return entry.load()
    except (OSError, OcellaError) as error:
        return error
