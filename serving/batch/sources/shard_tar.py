"""Images in a tar file, laid out as WebDataset's shards are: one image and its companions share a name."""

from __future__ import annotations

import io
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


def entries(path: bytes) -> Iterator[Entry]:
    """Each member with an image's suffix, in the tar's own order; labels and texts beside it are left out.

    A member of an uncompressed tar is read where it lies, at any time and from any thread; one of a compressed tar only
    in its turn. A tar that is cut or damaged gives an entry that fails in place of what could not be reached.
    """
    stamp = stamp_of(path)
    try:
        with tarfile.open(os.fsdecode(path), "r:*", tarinfo=_Header) as tar:
            compressed = not isinstance(tar.fileobj, io.BufferedReader)
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all that it has seen: a million of them
                name = os.fsencode(member.name)
                if member.isreg() and name.lower().endswith(SUFFIXES):
                    turn = compressed or member.sparse is not None
                    load = (
                        partial(_in_turn, tar, member)
                        if turn
                        else partial(_at_once, path, member.offset_data, member.size)
                    )
                    yield Entry(
                        name=path + b"#" + name,
                        relative=portable(name),
                        stamp=stamp and b"%s:%d" % (stamp, member.offset_data),
                        load=load,
                        in_turn=turn,
                    )
    except (tarfile.TarError, EOFError, zlib.error) as error:
        yield failing_entry(path, OSError(5, f"a tar must be whole, after {error}"))


class _Header(tarfile.TarInfo):
    """A member whose bad header is an error wherever it lies: ``tarfile`` takes one for the end of the file."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header; raises ReadError where it is cut or damaged."""
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error


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
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise OSError(5, f"the tar is damaged here: {error}") from error


def _checked(size: int) -> int:
    limit = ImageLimits().max_bytes
    if size > limit:
        raise ImageTooLargeError(f"image has {size:,} bytes, the limit is {limit:,}")
    return size
