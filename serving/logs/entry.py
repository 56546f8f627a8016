"""One line of the log, before it is written down in either form."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = str | int | float | bool
Fields: TypeAlias = Sequence[tuple[str, Value]]
_EVENT, _FIELDS = "ocella_event", "ocella_fields"
LEVELS: Mapping[int, str] = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
MAX_TEXT_CHARS = 16_384  # of one text; the longest that is of use is a trace of a chained error
_formatter = logging.Formatter()


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line says.

    Attributes:
        time: seconds since 1970.
        level: one of ``LEVELS``.
        event: what happened, one of a bounded few; ``log`` for lines of libraries.
        fields: name and value, in the order of writing.
        trace: a Python traceback; empty where there is none.
    """

    time: float
    level: str
    event: str
    fields: Fields
    trace: str = ""


def event(name: str, **fields: Value) -> dict[str, Any]:
    """Say as ``extra=event(...)`` of a logging call which event its line is, and with which fields beside its words."""
    return {_EVENT: name, _FIELDS: tuple(fields.items())}


def entry_of(record: logging.LogRecord) -> Entry:
    """A record of Python's logging as an entry; its words become the field ``message``."""
    trace = _formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    return Entry(
        record.created,
        LEVELS.get(record.levelno, "info"),
        getattr(record, _EVENT, "log"),
        (
            ("logger", record.name),
            ("message", record.getMessage()[:MAX_TEXT_CHARS]),
            *getattr(record, _FIELDS, ()),
        ),
        trace[-MAX_TEXT_CHARS:],  # its end names the error
    )
