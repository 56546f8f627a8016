"""Content codings: packing answers, and unpacking bodies without ever holding more than a limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from pipelines.errors import InvalidRequestError
from serving.rest.errors import RequestTooLargeError

# zlib's window bits: 15 with the header of its own format, which HTTP calls deflate, and 16 more with that of gzip.
CODINGS: Mapping[str, int] = {"gzip": 31, "deflate": 15}
_LEVEL = 1  # level 6 takes three times as long for a tenth fewer bytes
_STEP = 1 << 20


def pack(parts: Iterable[bytes | memoryview], coding: str) -> bytes:
    """One body of ``parts`` in a coding of ``CODINGS``."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, CODINGS[coding])
    return b"".join([*map(packer.compress, parts), packer.flush()])


def unpack(data: bytes, coding: str, *, limit: int) -> bytes:
    """The body that came in a coding of ``CODINGS``; gzip may be several files in a row.

    Raises RequestTooLargeError before more than ``limit`` bytes were unpacked, InvalidRequestError for damaged data.
    """
    parts: list[bytes] = []
    room = limit
    rest = data
    while rest:
        unpacker = zlib.decompressobj(CODINGS[coding])
        while not unpacker.eof:
            try:
                part = unpacker.decompress(rest, min(_STEP, room + 1))
            except zlib.error as error:
                raise InvalidRequestError(f"the body must be {coding}, as content-encoding says: {error}") from error
            rest = unpacker.unconsumed_tail
            room -= len(part)
            if room < 0:
                raise RequestTooLargeError(f"the body must have at most {limit:,} bytes once unpacked, it has more")
            parts.append(part)
            if not part and not rest and not unpacker.eof:
                raise InvalidRequestError(f"the body must be whole {coding}, it ends before its end")
        rest = unpacker.unused_data
        if rest and coding != "gzip":
            raise InvalidRequestError(f"the body must end where its {coding} ends, {len(rest)} bytes follow")
    return b"".join(parts)
