"""When a file is another one than before."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Signature: TypeAlias = tuple[int, int, int] | None


def signature_of(path: Path) -> Signature:
    """What changes with a file: where it lies, its size, and when it was written; ``None`` where it is gone.

    Links are followed: Kubernetes swaps a link to bring in a new secret.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
