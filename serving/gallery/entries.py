"""A gallery's named texts and counters, and its audit, inside a transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass

from serving.gallery.database import Execute


@dataclass(frozen=True)
class Entry:
    """A line of the audit; it never holds an embedding or a picture."""

    at_s: float
    action: str
    person: str
    samples: int


def read_meta(execute: Execute, key: str) -> str | None:
    """A named text; ``None`` where there is none."""
    found = execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return found and found[0]


def read_number(execute: Execute, key: str) -> int:
    """A counter; 0 where it never moved."""
    return int(read_meta(execute, key) or 0)


def put_meta(write: Execute, key: str, value: str) -> None:
    """Keep a named text in the place of the one before."""
    write("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))


def bump(write: Execute, key: str) -> None:
    """Move a counter by one."""
    put_meta(write, key, str(read_number(write, key) + 1))


def log(write: Execute, action: str, person: str, samples: int) -> None:
    """Add a line to the audit, with the time of now."""
    write("INSERT INTO audit (at, action, person, samples) VALUES (?, ?, ?, ?)", (time.time(), action, person, samples))


def read_entries(read: Execute) -> tuple[Entry, ...]:
    """The audit, oldest first."""
    return tuple(Entry(*row) for row in read("SELECT at, action, person, samples FROM audit ORDER BY id").fetchall())
