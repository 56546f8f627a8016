"""Reading a request's body as it comes: within its limit, its deadline and a client's right to pause."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers

from pipelines.errors import DeadlineExceededError
from serving.rest.coding import CODINGS, unpack
from serving.rest.errors import MediaTypeError, RequestTooLargeError, StalledRequestError
from serving.security.limits import Upload, Uploads
from serving.threads import Threads

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# A client that sends no byte for so long has gone or means harm: each open body holds what came of it.
PATIENCE_S = 30.0


class ClientLeftError(Exception):
    """The connection ended while its request was read: there is nobody to answer."""


async def read_body(
    receive: Receive, headers: Headers, pixels: Threads, *, limit: int, deadline: float, uploads: Uploads
) -> bytes:
    """The whole body, unpacked; no more than ``limit`` bytes of it, packed or unpacked, are ever held.

    Raises RequestTooLargeError, OverloadedError where too many bodies are on their way, MediaTypeError for a content
    coding that is not offered, InvalidRequestError for a damaged one, DeadlineExceededError, StalledRequestError,
    ClientLeftError.
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in (*CODINGS, "identity"):
        raise MediaTypeError(f"content-encoding must be one of {', '.join(CODINGS)} or none, got {coding[:32]!r}")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)
    with uploads.open() as upload:
        data = await _read(receive, upload, limit, deadline)
    if coding == "identity":
        return data
    return await pixels.run(_unpack, data, coding, limit)


async def _read(receive: Receive, upload: Upload, limit: int, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(min(deadline, loop.time() + PATIENCE_S)) as patience:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                upload.grow(len(chunk))
                chunks.append(chunk)
                if not message.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                patience.reschedule(min(deadline, loop.time() + PATIENCE_S))
    except TimeoutError:
        if patience.when() == deadline:  # no clock is asked: timers may ring a millisecond early
            raise DeadlineExceededError("the deadline passed before the body had come") from None
        raise StalledRequestError(f"a body must keep coming, {PATIENCE_S:g} seconds passed without a byte") from None


def _unpack(data: bytes, coding: str, limit: int) -> bytes:
    return unpack(data, coding, limit=limit)


def _too_large(limit: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"a body must have at most {limit:,} bytes, this one has more")


def deadline_after(timeout_s: float) -> float:
    """The end of a span that begins now, in monotonic seconds; the loop's clock is the same one."""
    return math.inf if math.isinf(timeout_s) else time.monotonic() + timeout_s
