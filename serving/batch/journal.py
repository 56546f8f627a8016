"""What a job has computed so far, on disk: the one source from which every output is written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from serving.batch.errors import JobError
from serving.batch.outcome import Failure, Outcome, Row

# Rows are keyed by content; that the package and the options are the same, the identity in `job` says (identity.py).
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (name BLOB PRIMARY KEY, stamp BLOB NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    sha256 BLOB PRIMARY KEY, height INTEGER NOT NULL, width INTEGER NOT NULL, result TEXT NOT NULL,
    reason TEXT NOT NULL, message TEXT NOT NULL, facts TEXT NOT NULL, seconds REAL NOT NULL, thumbnail BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS suspects (sha256 BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = "height, width, result, reason, message, facts, seconds, thumbnail"


class Journal:
    """A context manager around the file; its methods may be called from any thread, and take turns.

    A commit is one transaction in SQLite's write-ahead log: after a kill, it is there whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises JobError where it is none of ours."""
        self._path = path
        self._lock, self._look = threading.Lock(), threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._reader = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            with self._named_errors():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute(
                    "PRAGMA synchronous = NORMAL"
                )  # outlives a kill; a power cut may cost the last commits
                self._db.executescript(_SCHEMA)
        except BaseException:
            self.close()
            raise

    def identity(self) -> str | None:
        """The identity of the job that the journal belongs to; ``None`` in a new one."""
        row = self._one("SELECT identity FROM job", ())
        return str(row[0]) if row else None

    def claim(self, identity: str) -> None:
        """Make a new journal that of this job."""
        with self._lock, self._named_errors():
            self._db.execute("INSERT INTO job VALUES (?)", (identity,))

    def known(self, name: bytes, stamp: bytes) -> Outcome | None:
        """The outcome of an entry that was done and has not changed since, as far as its stamp tells."""
        if not stamp:
            return None
        row = self._one(
            f"SELECT sha256, {_COLUMNS} FROM entries JOIN outcomes USING (sha256) WHERE name = ? AND stamp = ?",
            (name, stamp),
        )
        return _outcome(row) if row else None

    def find(self, sha256: str) -> Outcome | None:
        """The outcome of a content."""
        row = self._one(f"SELECT sha256, {_COLUMNS} FROM outcomes WHERE sha256 = ?", (bytes.fromhex(sha256),))
        return _outcome(row) if row else None

    def suspect(self, contents: Sequence[str]) -> None:
        """Keep that a process died while it worked on these contents, of each until it has an outcome that lasts."""
        if not contents:
            return
        with self._lock, self._named_errors(), self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO suspects VALUES (?)", [(bytes.fromhex(sha256),) for sha256 in contents]
            )

    def suspects(self) -> frozenset[str]:
        """The contents on which a process died."""
        with self._lock, self._named_errors():
            return frozenset(row[0].hex() for row in self._db.execute("SELECT sha256 FROM suspects"))

    def commit(self, rows: Iterable[Row]) -> None:
        """Keep what lasts of these rows: all of them or, where the disk is full, none. Raises JobError."""
        lasting = [row for row in rows if not row.outcome.failure or row.outcome.failure.lasting]
        with self._lock, self._named_errors(), self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)",
                [(row.entry.name, row.entry.stamp, bytes.fromhex(row.outcome.sha256)) for row in lasting],
            )
            self._db.executemany(
                f"INSERT OR REPLACE INTO outcomes (sha256, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_values(row.outcome) for row in lasting],
            )
            self._db.executemany(
                "DELETE FROM suspects WHERE sha256 = ?", [(bytes.fromhex(row.outcome.sha256),) for row in lasting]
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._look:
            self._reader.close()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        with self._look, self._named_errors():  # a connection of its own does not wait for a commit under way
            row: tuple[object, ...] | None = self._reader.execute(query, values).fetchone()
        return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a folder that became read-only, a lost mount
            raise JobError(f"{self._path} cannot be written: {error}; what was kept is whole") from error
        except sqlite3.DatabaseError as error:
            raise JobError(f"{self._path} is damaged ({error}): remove the output folder to begin anew") from error


def _values(outcome: Outcome) -> tuple[object, ...]:
    failure = outcome.failure or Failure("", "", lasting=True)
    return (
        bytes.fromhex(outcome.sha256),
        *outcome.image_hw,
        outcome.result_json,
        failure.reason,
        failure.message,
        outcome.facts_json,
        outcome.seconds,
        outcome.thumbnail,
    )


def _outcome(row: tuple[object, ...]) -> Outcome:
    sha256, height, width, result, reason, message, facts, seconds, thumbnail = row
    assert isinstance(sha256, bytes)
    assert isinstance(thumbnail, bytes)
    assert isinstance(height, int)
    assert isinstance(width, int)
    assert isinstance(seconds, float)
    return Outcome(
        sha256=sha256.hex(),
        image_hw=(height, width),
        result_json=str(result),
        failure=Failure(str(reason), str(message), lasting=True) if reason else None,
        facts_json=str(facts),
        seconds=seconds,
        thumbnail=thumbnail,
    )
