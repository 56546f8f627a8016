"""Images in a folder and the folders inside it, in the order of their names' bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from serving.batch.entry import Entry, failing_entry, file_entry

SUFFIXES = (b".jpg", b".jpeg", b".png", b".webp", b".bmp", b".tif", b".tiff")
Identity = tuple[int, int]
"""Device and inode: two paths of one folder have the same."""


def entries(folder: bytes) -> Iterator[Entry]:
    """Each file with an image's suffix; hidden files and folders are left out.

    A link to a folder is followed, unless it leads to a folder that we are in: such a loop has no end, and all that it
    holds comes anyway. A folder that cannot be listed is an entry of its own, which fails. At any time the names of one
    folder on each level are in memory.
    """
    yield from _walk(folder, b"", ())


def _walk(folder: bytes, relative: bytes, above: tuple[Identity, ...]) -> Iterator[Entry]:
    try:
        identity = identity_of(folder)
        if identity in above:
            return
        names = sorted(_names(folder))
    except OSError as error:
        yield failing_entry(folder, error)
        return
    names.reverse()
    while names:  # taken off the list, so that what was walked is not held
        name = names.pop()
        path, inside = os.path.join(folder, name), os.path.join(relative, name)  # noqa: PTH118, names are bytes
        if name.endswith(b"/"):
            yield from _walk(path[:-1], inside[:-1], (*above, identity))
        else:
            yield file_entry(path, inside)


def _names(folder: bytes) -> Iterator[bytes]:
    """Names of images, and of folders with a ``/`` behind them."""
    with os.scandir(folder) as children:
        for child in children:
            if child.name.startswith(b"."):
                continue
            if child.name.lower().endswith(SUFFIXES) and not is_folder(child):
                yield child.name
            elif is_folder(child):
                yield child.name + b"/"


def identity_of(folder: bytes) -> Identity:
    """Which folder a path leads to; raises OSError."""
    status = os.stat(folder)  # noqa: PTH116, names are bytes
    return status.st_dev, status.st_ino


def is_folder(child: os.DirEntry[bytes]) -> bool:
    """Whether a name is that of a folder, or of a link to one."""
    try:
        return child.is_dir()
    except OSError:  # a link that leads to itself
        return False
