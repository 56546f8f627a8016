"""Lines that native libraries write to standard error by themselves, brought into the form of all others."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.logs.entry import MAX_TEXT_CHARS, Entry
from serving.logs.writer import LogWriter

_STDERR = 2
_READ_BYTES = 65_536
_PIPE_BYTES = 1024 * 1024  # the most that Linux gives to anybody
JOIN_S = 2.0


class CaughtStderr:
    """Standard error as a pipe.

    Attributes:
        original: descriptor of where it went before.
    """

    def __init__(self, original: int, pipe: int) -> None:
        self.original = original
        self._pipe = pipe

    @contextmanager
    def reading(self, writer: LogWriter) -> Iterator[None]:
        """Make an entry of each line; leaving it gives standard error back and reads what is left."""
        thread = threading.Thread(target=self._read, args=(writer,), name="stderr", daemon=True)
        thread.start()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(self.original, _STDERR)  # the pipe has no writer any more, which ends the thread
            thread.join(JOIN_S)

    def _read(self, writer: LogWriter) -> None:
        rest = b""
        while data := os.read(self._pipe, _READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _put(writer, line)
            if len(rest) > MAX_TEXT_CHARS:  # no line, or none of use
                _put(writer, rest)
                rest = b""
        _put(writer, rest)


@contextmanager
def caught_stderr() -> Iterator[CaughtStderr]:
    """Take standard error for as long as the block runs.

    A crash still tells where it happened: the fault handler writes past the pipe, whose reader dies with the process.
    """
    original = os.dup(_STDERR)
    pipe, end = os.pipe()
    # A library that writes more than this at once, and lets no other Python code run meanwhile, would wait for ever.
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    sys.stderr.flush()
    os.dup2(end, _STDERR)
    os.close(end)
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(original)
    try:
        yield CaughtStderr(original, pipe)
    finally:
        os.dup2(original, _STDERR)
        if was_enabled:
            faulthandler.enable(_STDERR)
        else:
            faulthandler.disable()
        os.close(pipe)
        os.close(original)


def _put(writer: LogWriter, line: bytes) -> None:
    text = line.decode("utf-8", "backslashreplace").rstrip("\r")[:MAX_TEXT_CHARS]
    if text:
        writer.put(Entry(time.time(), "warning", "stderr", (("message", text),)))
