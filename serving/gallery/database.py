"""A gallery's SQLite file: opened, checked, its transactions on the disk when they end."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

from pipelines.errors import GalleryError, OverloadedError

GALLERY_FILE = "gallery.db"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x0CE11A  # in the file's header: tells a gallery from any other SQLite file
BUSY_S = 30.0
Execute: TypeAlias = Callable[..., Any]  # sqlite3.Connection.execute
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS people (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, enrolled_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id), vector BLOB NOT NULL,
    crop BLOB, crc32 INTEGER NOT NULL, added_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS samples_of_person ON samples (person);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, action TEXT NOT NULL, person TEXT NOT NULL,
    samples INTEGER NOT NULL
);
"""


class Database:
    """One connection, for any thread; a context manager.

    What a transaction wrote is on the disk when it returns (``synchronous = FULL``); what it deleted is overwritten
    with zeros (``secure_delete``), and gone from the write-ahead log after :meth:`empty_log`.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        """Open ``folder/gallery.db`` and check every page; raises GalleryError where it is damaged or missing."""
        self.path = folder / GALLERY_FILE
        if create:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # its log gets the same mode from SQLite
        elif not self.path.is_file():
            raise GalleryError(f"{folder} must hold a gallery, there is no {GALLERY_FILE} in it")
        self._lock = threading.RLock()
        with self._named_errors():
            self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA foreign_keys = ON")
        (found,) = run("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        (application,) = run("PRAGMA application_id").fetchone()
        (version,) = run("PRAGMA user_version").fetchone()
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise GalleryError(f"{self.path} must be a gallery of version {SCHEMA_VERSION}, it is none")
        if tables:
            return
        with self.writing() as write:
            for statement in filter(str.strip, SCHEMA.split(";")):
                write(statement)
            write(f"PRAGMA application_id = {APPLICATION_ID}")
            write(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """``execute`` inside one view of the data."""
        with self._transaction("DEFERRED") as execute:
            yield execute

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """``execute`` inside one transaction that holds whole and durably, or not at all."""
        with self._transaction("IMMEDIATE") as execute:
            yield execute

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[Execute]:
        with self._lock, self._named_errors():
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def empty_log(self, *, wait_s: float) -> bool:
        """Move the write-ahead log into the file and cut it to nothing; ``False`` where somebody was in the way."""
        with self._lock, self._named_errors():
            run = self._connection.execute
            run(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
            try:
                busy, _, _ = run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                run(f"PRAGMA busy_timeout = {round(1000 * BUSY_S)}")
            return not busy

    def copy_to(self, path: Path) -> None:
        """Copy a consistent state into a new file while others read and write."""
        with self._lock, self._named_errors():
            target = sqlite3.connect(path)
            try:
                self._connection.backup(target)
            finally:
                target.close()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise OverloadedError(
                    f"another writer held the gallery for {BUSY_S:g} s", retry_after_s=1.0, reason="overloaded"
                ) from error
            raise damaged(self.path, str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def damaged(path: Path, why: str) -> GalleryError:
    """The error of a file that cannot be trusted, with the way out."""
    return GalleryError(
        f"{path} is damaged ({' '.join(why.split())[:120]}): stop what uses it, move it and its -wal and -shm files "
        "away, and put a backup made by `ocella faces backup` in its place"
    )
