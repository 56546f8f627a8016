"""The log of a server process from its start to its end: where it goes, in which form, how much of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from serving.logs.access import TrailRecord, entry_of_trail
from serving.logs.entry import Fields, entry_of
from serving.logs.native import caught_stderr
from serving.logs.render import Render, render_colored, render_console, render_json
from serving.logs.writer import LogWriter, Stream, to_descriptor
from serving.settings import LogFormat, LogLevel, Settings

OUR_LOGGERS = ("serving", "pipelines")
_STDERR = 2


class QueuedHandler(logging.Handler):
    """Hands records of Python's logging to the log's thread; their words are put together at once: arguments change."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a record."""
        try:
            if isinstance(record, TrailRecord):
                self._writer.put_later(entry_of_trail, record.trail)
            elif not is_departure(record):
                self._writer.put(entry_of(record))
        except Exception:  # noqa: BLE001, as logging does: a bad line must not end what it tells of
            self.handleError(record)


def server_log(settings: Settings, *, serves: bool = True) -> AbstractContextManager[LogWriter]:
    """The log of a process; ``serves``: whether requests and native libraries run in it, not in processes below it."""
    member = (("process", settings.member),) if settings.member_of is not None else ()
    return logging_to_stderr(
        log_format=settings.log_format, level=settings.log_level, always=member, catch_native=serves
    )


@contextmanager
def logging_to_stderr(
    *, log_format: LogFormat, level: LogLevel, always: Fields = (), catch_native: bool = True
) -> Iterator[LogWriter]:
    """Let every line of this process go to standard error in one form; leaving it writes what waits.

    Args:
        log_format: ``auto``: for people on a terminal, JSON elsewhere.
        level: least level of our own lines; of libraries', it is never below ``warning``.
        always: fields of every line.
        catch_native: whether lines that native libraries write to standard error by themselves become JSON, too.
    """
    on_terminal = sys.stderr.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not on_terminal)
    render: Render = render_json if as_json else render_colored if on_terminal else render_console
    with ExitStack() as stack:
        write = _stderr()
        caught = stack.enter_context(caught_stderr()) if as_json and catch_native and _is_descriptor() else None
        if caught is not None:
            write = to_descriptor(caught.original)
        writer = LogWriter(write, render, always=always)
        stack.callback(writer.close)
        if caught is not None:
            stack.enter_context(caught.reading(writer))
        stack.enter_context(_records_to(writer, logging.getLevelNamesMapping()[level.upper()]))
        yield writer


def is_departure(record: logging.LogRecord) -> bool:
    """Whether gRPC reports as an error, with a traceback, that a client left before its refusal could be sent.

    The request has a line of its own; nothing is broken.
    """
    kind = record.exc_info[0] if record.exc_info else None
    return record.name.startswith("grpc.") and kind is not None and kind.__name__ == "ExecuteBatchError"


@contextmanager
def _records_to(writer: LogWriter, level: int) -> Iterator[None]:
    """Let Python's logging write to ``writer`` alone, and give its settings back."""
    root = logging.getLogger()
    levels: Mapping[str, int] = {name: logging.getLogger(name).level for name in OUR_LOGGERS}
    handlers, root_level = root.handlers[:], root.level
    root.handlers[:] = [QueuedHandler(writer)]
    root.setLevel(max(level, logging.WARNING))
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


def _stderr() -> Stream:
    """To Python's own standard error, which tests and embedders may have replaced."""
    if _is_descriptor():
        return to_descriptor(_STDERR)
    stream = sys.stderr

    def write(data: bytes) -> None:
        stream.write(data.decode())
        stream.flush()

    return write


def _is_descriptor() -> bool:
    try:
        return sys.stderr.fileno() == _STDERR
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return False
