"""Who computes which content: asked by every worker, so that none computes what another one does."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from serving.batch.content import is_whole
from serving.batch.draw import Overlays
from serving.batch.journal import Journal


class Standing(enum.Enum):
    """What a worker is to do with a content."""

    MINE = "compute it"
    SUSPECT = "compute it in a process of its own: one died that worked on it"
    ELSEWHERE = "leave it: another entry's is computed, or was by an earlier run"


class Claims(Protocol):
    """The ledger, here or in another process."""

    def known(self, entries: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """The SHA-256 of each entry, given by name and stamp, that an earlier run computed; else an empty text."""
        ...

    def claim(self, contents: Sequence[tuple[str, int]]) -> list[Standing]:
        """What to do with each content, given by its SHA-256 and the position of its entry."""
        ...


class Ledger:
    """See ``Claims``; it lies beside the journal, on whose machine it must be.

    The first entry of a content that asks has the claim. Where it asks again, the worker that had it is lost.
    """

    def __init__(self, journal: Path, overlays: Overlays | None) -> None:
        """``overlays``: a result whose overlay is not there counts as not computed; ``None``: none is wanted."""
        self._journal = Journal(journal)
        self._overlays = overlays
        self._suspects = self._journal.suspects()
        # A database without a name is a file that goes with it: a million claims take 40 MB, and not of memory.
        self._claims = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._claims.execute("CREATE TABLE claims (sha256 BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID")

    def known(self, entries: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """See ``Claims``."""
        found = (self._journal.known(name, stamp) for name, stamp in entries)
        return [one.sha256 if one and is_whole(one, self._overlays) else "" for one in found]

    def claim(self, contents: Sequence[tuple[str, int]]) -> list[Standing]:
        """See ``Claims``."""
        self._claims.execute("BEGIN")
        standings = [self._standing(sha256, position) for sha256, position in contents]
        self._claims.execute("COMMIT")
        return standings

    def close(self) -> None:
        """Close the journal."""
        self._claims.close()
        self._journal.close()

    def _standing(self, sha256: str, position: int) -> Standing:
        digest = bytes.fromhex(sha256)
        row = self._claims.execute("SELECT position FROM claims WHERE sha256 = ?", (digest,)).fetchone()
        if row is not None:
            return Standing.SUSPECT if row[0] == position else Standing.ELSEWHERE
        earlier = self._journal.find(sha256)
        if earlier and is_whole(earlier, self._overlays):
            return Standing.ELSEWHERE
        self._claims.execute("INSERT INTO claims VALUES (?, ?)", (digest, position))
        return Standing.SUSPECT if sha256 in self._suspects else Standing.MINE
