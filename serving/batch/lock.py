"""One process an output folder: a lock that dies with its owner."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.batch.errors import JobLockedError


@contextmanager
def locked(path: Path, *, of: Path) -> Iterator[None]:
    """Hold ``path`` for this process; raises JobLockedError where another does.

    ``flock`` belongs to the open file: the kernel lets go of it when the process ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise JobLockedError(f"{of} must be used by one process at a time, process {owner} works in it") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
