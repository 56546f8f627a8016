"""What goes with each call beside its message: an id, and the caller's place in a trace."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from pipelines.errors import InvalidRequestError

Metadata: TypeAlias = tuple[tuple[str, str], ...]
REQUEST_ID, TRACEPARENT, TRACESTATE = "x-request-id", "traceparent", "tracestate"
# As the server takes them; one that it does not take would be left away there without a word.
_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(r"[ -~]{1,512}")
_carried: ContextVar[Metadata] = ContextVar("what calls carry", default=())


@contextmanager
def carrying(
    *, request_id: str | None = None, traceparent: str | None = None, tracestate: str | None = None
) -> Iterator[None]:
    """Let the calls that are made inside carry an id and a place in a trace, in this thread or task and what it starts.

    Args:
        request_id: under which the server's log holds the calls, 1 to 128 printable ASCII characters; without it each
            call has one of its own.
        traceparent: of W3C trace context.
        tracestate: of W3C trace context; with ``traceparent``.

    Raises:
        InvalidRequestError: an argument is not as said.

    Example:
        >>> with carrying(traceparent=request.headers["traceparent"]):
        ...     client.predict("centerface", image)
    """
    given = ((REQUEST_ID, request_id, _ID), (TRACEPARENT, traceparent, _PARENT), (TRACESTATE, tracestate, _STATE))
    for name, value, pattern in given:
        if value is not None and not pattern.fullmatch(value):
            raise InvalidRequestError(f"{name.removeprefix('x-')} must match {pattern.pattern}, got {value[:64]!r}")
    if tracestate is not None and traceparent is None:
        raise InvalidRequestError("tracestate must come with traceparent, it came alone")
    before = _carried.get()
    named = tuple((name, value) for name, value, _ in given if value is not None)
    # A place in another trace takes the place of all of the one before.
    replaced = {TRACEPARENT, TRACESTATE} if traceparent is not None else set()
    kept = [each for each in before if each[0] not in {name for name, _ in named} | replaced]
    token = _carried.set((*kept, *named))
    try:
        yield
    finally:
        _carried.reset(token)


def of_call(own: Metadata) -> tuple[Metadata, str]:
    """The metadata of one call, and its id; ``own`` is the client's for every call."""
    carried = _carried.get()
    for name, value in carried:
        if name == REQUEST_ID:
            return own + carried, value
    request_id = secrets.token_hex(8)
    return (*own, *carried, (REQUEST_ID, request_id)), request_id
