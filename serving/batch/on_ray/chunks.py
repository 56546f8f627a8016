"""A job's entries a few at a time, on their way from the sources to the workers and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipelines.errors import OcellaError
from serving.batch.entry import Entry, loaded_entry
from serving.batch.on_ray.ledger import Claims
from serving.batch.outcome import Outcome
from serving.batch.shard import Shard

MOST_ENTRIES = 32  # a worker has two chunks: enough for every core's runs, few enough to be done again
MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Ticket:
    """One entry of ours; it can be pickled.

    Attributes:
        index: among all entries of the sources, those of other shards counted.
        position: among those of this shard.
        entry: the image, loaded where it can only be read in its turn.
    """

    index: int
    position: int
    entry: Entry


@dataclass(frozen=True)
class Found:
    """What a worker says of an entry.

    Attributes:
        ticket: the entry, without its bytes.
        sha256: of its content; empty where it could not be read.
        outcome: what became of it; ``None`` where it is, or will be, known from elsewhere.
    """

    ticket: Ticket
    sha256: str
    outcome: Outcome | None


def chunks(sources: Iterable[Entry], shard: Shard, claims: Claims) -> Iterator[list[Ticket]]:
    """The entries of a shard in order; raises what walking the sources raises."""
    chunk: list[Ticket] = []
    held = position = 0
    for index, entry in enumerate(sources):
        if not shard.takes(entry.name):
            continue
        if entry.in_turn:
            entry, size = _read(entry, claims)
            held += size
        chunk.append(Ticket(index, position, entry))
        position += 1
        if len(chunk) >= MOST_ENTRIES or held >= MOST_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def without_bytes(ticket: Ticket) -> Ticket:
    """A ticket that can be sent back at no cost: nobody loads its entry any more."""
    return replace(ticket, entry=replace(ticket.entry, load=_is_done))


def _read(entry: Entry, claims: Claims) -> tuple[Entry, int]:
    """An entry with its bytes, unless an earlier run has computed it, and their number."""
    if claims.known([(entry.name, entry.stamp)]) != [""]:
        return loaded_entry(entry, b""), 0
    try:
        data = entry.load()
    except (OSError, OcellaError) as error:
        return loaded_entry(entry, error), 0
    return loaded_entry(entry, data), len(data)


def _is_done() -> bytes:
    raise AssertionError("an entry is loaded once, by the worker that has its chunk")
