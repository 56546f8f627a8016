"""The line of each request, and of each stream; made on the log's thread, never on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from serving.calls import NAMING_PEOPLE
from serving.logs.entry import LEVELS, Entry, Value
from serving.security.limits import address_of
from serving.trail import STAGES, Trail

# Probes come every few seconds for ever: an answer to one is no news.
PROBES = frozenset({"ServerLive", "ServerReady", "ModelReady", "v2.live", "v2.ready", "v2.model.ready"})
# Codes that say that something of ours is broken.
FAULTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})
# Errors whose words quote bytes of an image; their reason says enough, and the caller was told the rest.
QUOTING = frozenset({"ImageDecodeError"})
MAX_NAME_CHARS = 64
_SECONDS = tuple(f"{stage}_s" for stage in STAGES)
_log = logging.getLogger("serving.access")


class TrailRecord(logging.LogRecord):
    """A request as a record of Python's logging; its line is made by whoever writes it, later.

    Attributes:
        trail: of the request.
    """

    def __init__(self, trail: Trail, level: int) -> None:
        # LogRecord's own way asks for thread, process and clock, which costs more than all else here.
        self.__dict__.update(_BLANK)
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created, self.trail = trail.began, trail

    def getMessage(self) -> str:  # noqa: N802, logging's name
        """The line's fields, for a handler that is not ours."""
        return " ".join(f"{name}={value}" for name, value in entry_of_trail(self.trail).fields)


_BLANK = logging.LogRecord(_log.name, logging.INFO, __file__, 0, "request", None, None).__dict__


def log_request(trail: Trail) -> None:
    """A sink of ``Calls``; a request of a stream has a line of its own where it failed, and only for ``debug``."""
    level = level_of(trail)
    if _log.isEnabledFor(level) and not (trail.is_frame and trail.failure is None):
        _log.handle(TrailRecord(trail, level))


def level_of(trail: Trail) -> int:
    """How much a request matters to an operator."""
    if trail.code in FAULTS:
        return logging.ERROR
    if trail.is_frame or (trail.method in PROBES and trail.code == "OK"):
        return logging.DEBUG
    return logging.INFO


def entry_of_trail(trail: Trail) -> Entry:
    """What a request's line says."""
    kind = "frame" if trail.is_frame else "request" if trail.frames is None else "stream"
    return Entry(trail.began, LEVELS[level_of(trail)], kind, tuple(_fields(trail)))


def _fields(trail: Trail) -> Iterator[tuple[str, Value]]:
    arrival, failure = trail.arrival, trail.failure
    yield "request_id", arrival.request_id
    if arrival.api:
        yield "api", arrival.api
    yield "method", trail.method
    if trail.model:
        yield "model", trail.model[:MAX_NAME_CHARS]
    if trail.version:
        yield "version", int(trail.version)
    yield "code", trail.code
    if failure is not None:
        yield "reason", failure.reason
        if trail.method not in NAMING_PEOPLE and failure.reason not in QUOTING:
            yield "error", failure.message
    if arrival.caller or arrival.peer:
        yield "client", arrival.caller or address_of(arrival.peer)
    yield "bytes_in", trail.bytes_in
    if trail.images:
        yield "images", trail.images
    if trail.image_hw:
        yield "width", trail.image_hw[1]
        yield "height", trail.image_hw[0]
    yield from zip(_SECONDS, trail.stages, strict=False)  # none, or all
    yield "total_s", trail.total_s
    if trail.frames is not None:
        for code, count in sorted(trail.frames.codes.items()):
            yield f"frames_{code.lower()}", count
        yield "frames_dropped", trail.frames.dropped
    if arrival.trace is not None:
        yield "trace_id", arrival.trace.trace_id
        yield "span_id", arrival.trace.span_id
