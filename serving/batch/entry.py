"""One image of a job, wherever it comes from: its name, how to tell that it changed, how to read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from pipelines.image_file import read_image_file


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of a source.

    Attributes:
        name: what the rows call it, as the file system's bytes: a path, ``shard.tar#member``, ``clip.mp4#frame=30``.
        relative: its path inside its source, from which files of its own (YOLO text, masks) take their names.
        stamp: changes whenever the content may have changed; empty where nothing tells, then it is always read.
        load: reads the encoded image; raises OSError, ImageTooLargeError or ImageDecodeError. Unless it is in turn, an
            entry can be pickled and loaded in another process.
        in_turn: must be loaded before the source is asked for its next entry (video, compressed tar).
        details: further columns of its rows (``frame``, ``time_s``).
    """

    name: bytes
    relative: bytes
    stamp: bytes
    load: Callable[[], bytes]
    in_turn: bool = False
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        r"""The name as text; a byte that is not UTF-8 is ``\udc80`` to ``\udcff``, as PEP 383 has it."""
        return os.fsdecode(self.name)


def file_entry(path: bytes, relative: bytes) -> Entry:
    """An entry of one file; one that is missing is found out when it is loaded."""
    return Entry(name=path, relative=relative, stamp=stamp_of(path), load=partial(read_image_file, path))


def failing_entry(name: bytes, error: OSError) -> Entry:
    """An entry for what should have held images and cannot be read: it ends among the errors, not in silence."""
    return Entry(name=name, relative=name.rpartition(b"/")[2], stamp=b"", load=partial(_fail, error))


def loaded_entry(entry: Entry, read: bytes | Exception) -> Entry:
    """An entry that was read in its turn, or could not be, and may go where its source is not."""
    load = partial(_fail, read) if isinstance(read, Exception) else partial(_give, read)
    return replace(entry, load=load, in_turn=False)


def _fail(error: Exception) -> bytes:
    raise error


def _give(data: bytes) -> bytes:
    return data


def stamp_of(path: bytes) -> bytes:
    """Size, time of the last change and place of a file; empty where it cannot be asked."""
    try:
        status = os.stat(path)  # noqa: PTH116, names are bytes: a Path would have to be made of each
    except OSError:
        return b""
    return b"%d:%d:%d" % (status.st_size, status.st_mtime_ns, status.st_ino)


def portable(path: bytes) -> bytes:
    """A path that stays inside a folder: no drive, no leading ``/``, no ``..``."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".", b"..")]
    return b"/".join(parts)
