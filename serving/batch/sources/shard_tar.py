"""Images in a tar file, laid out as WebDataset's shards are: one image and its companions share a name."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Self

from pipelines.errors import ImageTooLargeError
from pipelines.image import ImageLimits
from serving.batch.entry import Entry, failing_entry, portable, stamp_of
from serving.batch.sources.folder import SUFFIXES

# What reading a cut or damaged tar raises, by its compression; of a file system that fails, too.
DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
_BAD_HEADERS = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]
_DRAIN_BYTES = 2**20


def entries(path: bytes) -> Iterator[Entry]:
    """Each member with an image's suffix, in the tar's own order; labels and texts beside it are left out.

    A member of an uncompressed tar is read where it lies, at any time and from any thread; one of a compressed tar only
    in its turn. A tar that is cut or damaged gives an entry that fails in place of what could not be reached.
    """
    try:
        tar = tarfile.open(os.fsdecode(path), "r:*", tarinfo=_Header)  # noqa: SIM115, closed below
    except DAMAGE as error:
        yield _unreadable(path, error)
        return
    with tar:
        stamp, compressed = stamp_of(path), not isinstance(tar.fileobj, io.BufferedReader)
        while True:
            try:
                member = _next(tar, compressed=compressed)
            except DAMAGE as error:
                yield _unreadable(path, error)
                return
            if member is None:
                return
            name = os.fsencode(member.name)
            if member.isreg() and name.lower().endswith(SUFFIXES):
                turn = compressed or member.sparse is not None
                at_once = partial(_at_once, path, member.offset_data, member.size)
                yield Entry(
                    name=path + b"#" + name,
                    relative=portable(name),
                    stamp=stamp and b"%s:%d" % (stamp, member.offset_data),
                    load=partial(_in_turn, tar, member) if turn else at_once,
                    in_turn=turn,
                )


class _Header(tarfile.TarInfo):
    """A member whose bad or missing header is an error: ``tarfile`` takes one for the end, which empty blocks mark."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header; raises ReadError where it is cut or damaged."""
        try:
            return super().fromtarfile(tarfile_)
        except _BAD_HEADERS as error:
            raise tarfile.ReadError(str(error)) from error


def _next(tar: tarfile.TarFile, *, compressed: bool) -> tarfile.TarInfo | None:
    """The next member; behind the last the rest is read, too, for a compressed file's checksum is at its end."""
    member = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]  # it would keep all that it has seen: a million of them
    if member is None and compressed:
        assert tar.fileobj is not None  # it is open
        while tar.fileobj.read(_DRAIN_BYTES):
            pass
    return member


def _unreadable(path: bytes, error: Exception) -> Entry:
    if isinstance(error, OSError) and error.strerror:  # the file system's own words: no permission, a failing disk
        return failing_entry(path, error)
    return failing_entry(path, OSError(5, f"a tar must be whole, after {error}"))


def _at_once(path: bytes, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123, names are bytes
        data = os.pread(file.fileno(), _checked(size), offset)
    if len(data) < size:
        raise OSError(5, f"the tar ends inside the image: {len(data):,} of {size:,} bytes")
    return data


def _in_turn(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _checked(member.size)
    file = tar.extractfile(member)
    assert file is not None  # a regular member has contents
    try:
        return file.read()
    except DAMAGE as error:
        raise OSError(5, f"the tar is damaged here: {error}") from error


def _checked(size: int) -> int:
    limit = ImageLimits().max_bytes
    if size > limit:
        raise ImageTooLargeError(f"image has {size:,} bytes, the limit is {limit:,}")
    return size
