"""Writes entries to a stream on a thread of its own; a log that nobody reads never stops the server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from serving.logs.entry import Entry, Fields
from serving.logs.render import Render
from serving.outbox import Outbox

# About ten seconds of lines at the most that one process answers, 4 MiB; behind a reader that hangs they are dropped.
CAPACITY = 16_384
# How long a line may wait to be written with others: one write for many costs what one for each would.
GATHER_S = 0.05
# Writes of at most so many bytes to a pipe are never mixed with those of other processes (PIPE_BUF of Linux).
ATOMIC_BYTES = 4096
CLOSE_S = 2.0


class Stream(Protocol):
    """Takes all bytes that it is given; raises OSError where it cannot."""

    def __call__(self, data: bytes, /) -> None:
        """Write."""
        ...


class LogWriter:
    """The log of one process."""

    def __init__(self, write: Stream, render: Render, *, always: Fields = (), capacity: int = CAPACITY) -> None:
        """``always``: fields of every line."""
        self._write, self._render = write, render
        self._always = tuple(always)
        self._lost = 0
        self._outbox: Outbox[tuple[Callable[[Any], Entry], Any]] = Outbox(
            self._deliver, name="log", capacity=capacity, gather_s=GATHER_S
        )

    def put(self, entry: Entry) -> None:
        """Leave an entry, from any thread."""
        self._outbox.put((_same, entry))

    def put_later(self, make: Callable[[Any], Entry], value: Any) -> None:
        """Leave what makes an entry of ``value`` on the log's thread."""
        self._outbox.put((make, value))

    def close(self) -> None:
        """Write what waits; give up on a reader that takes nothing for two seconds."""
        self._outbox.close(timeout_s=CLOSE_S)

    def _deliver(self, lot: Sequence[tuple[Callable[[Any], Entry], Any]], dropped: int) -> None:
        lines = [self._line(make(value)) for make, value in lot]
        self._lost += dropped
        if self._lost:
            words = f"{self._lost} lines of the log were dropped: whoever reads it is too slow, or gone"
            told = Entry(time.time(), "warning", "log_dropped", (("message", words), ("lines", self._lost)))
            lines.append(self._line(told))
        try:
            for part in parts_of(lines):
                self._write(part)
        except (OSError, ValueError):  # a closed pipe, a full disk, a closed file: what follows may go through
            self._lost += len(lot)
        else:
            self._lost = 0

    def _line(self, entry: Entry) -> bytes:
        if self._always:
            entry = Entry(entry.time, entry.level, entry.event, (*self._always, *entry.fields), entry.trace)
        return self._render(entry).encode("utf-8", "backslashreplace")  # of file names that are no UTF-8


def parts_of(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Whole lines together in parts of at most ``ATOMIC_BYTES``; a longer line is a part of its own."""
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > ATOMIC_BYTES:
            yield b"".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield b"".join(part)


def to_descriptor(number: int) -> Stream:
    """Write to a file descriptor, all of it, however little it takes at once."""

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(number, rest) :]

    return write


def _same(entry: Entry) -> Entry:
    return entry
