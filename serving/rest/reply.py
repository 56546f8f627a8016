"""Answers on their way out: JSON documents, failures, packed where the client asks for it."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from serving.rest.coding import CODINGS, pack
from serving.rest.negotiate import choose_coding
from serving.status import Failure
from serving.threads import Threads

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON = "application/json"
BINARY = "application/octet-stream"
PNG = "image/png"
# Smaller answers gain nothing from packing; larger ones than the second are packed off the loop.
PACK_FROM = 1024
OFF_LOOP_FROM = 16 * 1024
_PACKABLE = (JSON, BINARY)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        parts: of its body, sent one after the other.
        media_type: of the body; empty where there is none.
        status: HTTP's.
        headers: beside length, type and coding; names in lower case.
    """

    parts: Sequence[bytes | memoryview] = ()
    media_type: str = ""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.parts))


def document_reply(document: Any, *, status: int = 200) -> Reply:
    """A JSON document; it must hold no NaN and no infinity."""
    return Reply((to_bytes(document),), JSON, status)


def to_bytes(document: Any) -> bytes:
    """A document as JSON without spaces, in UTF-8."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def failure_reply(failure: Failure) -> Reply:
    """A failure as JSON; ``error`` repeats the message under the name that the Open Inference Protocol gives it."""
    document: dict[str, Any] = {
        "code": failure.status.grpc.name,
        "reason": failure.reason,
        "message": failure.message,
        "error": failure.message,
    }
    if failure.request_id:
        document["request_id"] = failure.request_id
    headers: list[tuple[str, str]] = []
    if failure.status.http == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", "Bearer"))
    if failure.retry_after_s is not None:
        document["retry_after_s"] = failure.retry_after_s
        # HTTP knows whole seconds only, and none would be no wait at all.
        headers.append(("retry-after", str(max(1, math.ceil(failure.retry_after_s)))))
    return Reply((to_bytes(document),), JSON, failure.status.http, headers)


async def pack_for(reply: Reply, headers: Headers, pixels: Threads) -> Reply:
    """The reply in the content coding that the request asks for, where packing it is worth its time."""
    if reply.media_type not in _PACKABLE or (size := reply.size) < PACK_FROM:
        return reply
    asked = headers.get("accept-encoding", "")
    coding = choose_coding(asked, tuple(CODINGS)) if asked else None
    vary = [value for name, value in reply.headers if name == "vary"]
    more = [each for each in reply.headers if each[0] != "vary"]
    more.append(("vary", ", ".join([*vary, "accept-encoding"])))
    if coding is None:
        return Reply(reply.parts, reply.media_type, reply.status, more)
    if size < OFF_LOOP_FROM:
        packed = pack(reply.parts, coding)
    else:
        packed = await pixels.run(pack, reply.parts, coding)
    return Reply((packed,), reply.media_type, reply.status, [*more, ("content-encoding", coding)])


async def send_reply(reply: Reply, send: Send) -> None:
    """Send a reply through ASGI's ``send``."""
    headers = [(b"content-length", str(reply.size).encode())]
    if reply.media_type:
        headers.append((b"content-type", reply.media_type.encode()))
    headers += [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for part in reply.parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": reply.parts[-1] if reply.parts else b""})
