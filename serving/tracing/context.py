"""W3C trace context: which trace a request belongs to, read from its headers and written into those of its answer."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace

# https://www.w3.org/TR/trace-context/; lower case, as gRPC asks for.
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
SAMPLED = 0x01
MAX_STATE_CHARS, MAX_STATE_MEMBERS = 512, 32
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits: the caller's span, or that of the request where the server makes spans.
        flags: of the trace; bit 0 says that it is recorded.
        state: what other systems keep with the trace, as it came.
        parent_id: the caller's span, where ``span_id`` is the request's own; else empty.
    """

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""
    parent_id: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the trace is recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values, of metadata or of HTTP headers."""
        parent = (TRACEPARENT, f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}")
        return (parent, (TRACESTATE, self.state)) if self.state else (parent,)

    def child(self, *, sampled: bool) -> TraceContext:
        """A span of our own below this one."""
        flags = self.flags | SAMPLED if sampled else self.flags & ~SAMPLED
        return replace(self, span_id=_fresh(8), flags=flags, parent_id=self.span_id)


def new_trace(*, sampled: bool) -> TraceContext:
    """The first span of a trace of its own."""
    return TraceContext(_fresh(16), _fresh(8), SAMPLED if sampled else 0)


def read_context(parent: str | None, state: str = "") -> TraceContext | None:
    """The caller's place in its trace; ``None`` where ``parent`` is no ``traceparent``, as the standard asks for.

    A ``tracestate`` that is none is left away, and the trace stays.
    """
    match = _PARENT.fullmatch(parent) if parent else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    # A later version may say more behind a dash; of it, only the bit that version 00 knows is passed on.
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    known = int(flags, 16) if version == "00" else int(flags, 16) & SAMPLED
    return TraceContext(trace_id, span_id, known, state if _is_state(state) else "")


def _is_state(text: str) -> bool:
    if not text or len(text) > MAX_STATE_CHARS:
        return False
    members = [member.strip(" \t") for member in text.split(",")]
    named = [member for member in members if member]
    keys = {member.partition("=")[0] for member in named}
    return 0 < len(named) <= MAX_STATE_MEMBERS and len(keys) == len(named) and all(map(_MEMBER.fullmatch, named))


def _fresh(size: int) -> str:
    """Random bytes as hexadecimal digits; never zeros alone, which mean no id."""
    while not int(text := secrets.token_hex(size), 16):
        pass
    return text
