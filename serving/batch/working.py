"""Which contents a process works on, in a file that tells it of a process that died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

_SHA256_BYTES = 32
_FREE = bytes(_SHA256_BYTES)


class Working:
    """A context manager around a file of slots, each with the SHA-256 of the content last begun in it, or zeros.

    What is written outlives the process, in the kernel's memory, at the cost of one small write a content: what is done
    is not wiped out but written over, so that a few more than were in work may be left. Its methods belong to one
    thread.

    Attributes:
        left: SHA-256, hexadecimal, of what the process before was working on when it died, or had just done.
    """

    def __init__(self, path: Path, *, slots: int) -> None:
        """Read what was left; ``slots``: most contents in work at once. Raises OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        before = os.pread(self._file, os.fstat(self._file).st_size, 0)
        marks = (before[i : i + _SHA256_BYTES] for i in range(0, len(before), _SHA256_BYTES))
        self.left = tuple(mark.hex() for mark in marks if len(mark) == _SHA256_BYTES and mark != _FREE)
        self._size = max(len(before), slots * _SHA256_BYTES)
        self._free = list(range(slots))

    def clear(self) -> None:
        """Forget what was left, once it is kept elsewhere. Raises OSError."""
        os.pwrite(self._file, bytes(self._size), 0)  # every slot has its place on the disk from now on

    @contextmanager
    def on(self, sha256: str) -> Iterator[None]:
        """Say that this content is worked on while the block runs."""
        slot = self._free.pop()
        os.pwrite(self._file, bytes.fromhex(sha256), slot * _SHA256_BYTES)
        try:
            yield
        finally:
            self._free.append(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what is done is then looked at once more
            self.clear()
        os.close(self._file)
