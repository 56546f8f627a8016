"""Files that a glob pattern names, in the order of their names' bytes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from serving.batch.entry import portable

MAGIC = glob.has_magic


def paths(pattern: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each file that matches, with its path behind the pattern's fixed folders; ``**`` as in Python's ``glob``."""
    fixed = _folder_before_magic(pattern)
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207, names are bytes
        if not os.path.isdir(path):  # noqa: PTH112
            yield path, portable(path[len(fixed) :])


def _folder_before_magic(pattern: bytes) -> bytes:
    """The leading folders of a pattern that hold no ``*``, ``?`` or ``[``."""
    folder = pattern
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120, names are bytes
    return folder
