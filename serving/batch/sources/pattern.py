"""Files that a glob pattern names, in the order of their names' bytes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from serving.batch.entry import portable
from serving.batch.sources.folder import Identity, identity_of, is_folder

MAGIC = glob.has_magic
_ANY_FOLDERS = b"**"


def paths(pattern: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each file that matches, once, with its path behind the pattern's fixed folders.

    Parts are matched as by Python's ``glob``; ``**`` follows no link to a folder that it is in. All matches are held.
    """
    fixed = _folder_before_magic(pattern)
    for path in sorted(set(_matches(pattern))):
        if not os.path.isdir(path):  # noqa: PTH112, names are bytes
            yield path, portable(path[len(fixed) :])


def _matches(pattern: bytes) -> Iterator[bytes]:
    parts = pattern.split(b"/")
    if _ANY_FOLDERS not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207, names are bytes
        return
    place = parts.index(_ANY_FOLDERS)
    before, behind = b"/".join([*parts[:place], b""]), b"/".join(parts[place + 1 :] or [b"*"])
    for start in glob.iglob(before) if before else (b"",):  # noqa: PTH207
        for folder in _below(start, ()):
            yield from _matches(glob.escape(folder) + behind)


def _below(folder: bytes, above: tuple[Identity, ...]) -> Iterator[bytes]:
    """A folder and those below it, each ending in ``/``; not the hidden ones, nor those that cannot be listed."""
    try:
        identity = identity_of(folder or b".")
        if identity in above:
            return
        with os.scandir(folder or b".") as children:
            names = [child.name for child in children if not child.name.startswith(b".") and is_folder(child)]
    except OSError:
        return
    yield folder
    for name in names:
        yield from _below(folder + name + b"/", (*above, identity))


def _folder_before_magic(pattern: bytes) -> bytes:
    """The leading folders of a pattern that hold no ``*``, ``?`` or ``[``."""
    folder = pattern
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120, names are bytes
    return folder
