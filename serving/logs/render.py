"""Entries as lines: JSON for programs, ``name=value`` for people; neither lets a value begin a line of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted  # in C
from typing import Any, TypeAlias

from serving.logs.entry import Entry, Value

Render: TypeAlias = Callable[[Entry], str]
_PLAIN = re.compile(r"[!#-<>-~]+")  # printable ASCII without space, quote and equals sign
_COLORS: Mapping[str, str] = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}


def render_json(entry: Entry) -> str:
    """One JSON object in ASCII, with its line's end; times in seconds, at most six digits behind the point."""
    whole = int(entry.time)
    micros = int((entry.time - whole) * 1e6)
    parts = [f'{{"time":"{_second(whole)}.{micros:06d}Z","level":"{entry.level}","event":{quoted(entry.event)}']
    parts += [f'"{name}":{_TO_JSON.get(type(value), _as_text)(value)}' for name, value in entry.fields]
    if entry.trace:
        parts.append(f'"traceback":{quoted(entry.trace)}')
    return ",".join(parts) + "}\n"


def render_console(entry: Entry) -> str:
    """One line for people; a traceback follows it, each of its lines behind a bar."""
    whole = int(entry.time)
    millis = int((entry.time - whole) * 1e3)
    stamp = f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{millis:03d}"
    fields = [f"{name}={_plain(value)}" for name, value in entry.fields if name not in ("logger", "message")]
    # The words of our own lines say all of what their fields say; a library's need its name.
    words = [(name, str(value)) for name, value in entry.fields if name in ("logger", "message")]
    said = [printable(text) for name, text in words if name == "message" or not text.startswith("serving")]
    head = " ".join([f"{stamp} {entry.level:<7}", *(said or [entry.event]), *fields])
    return "".join(f"{line}\n" for line in [head, *(f"  | {printable(line)}" for line in entry.trace.splitlines())])


def render_colored(entry: Entry) -> str:
    """As ``render_console``, what is no plain news in a colour of its own."""
    color = _COLORS.get(entry.level)
    text = render_console(entry)
    return f"{color}{text[:-1]}\x1b[0m\n" if color else text


def printable(text: str) -> str:
    """The text with whatever could end its line, or steer a terminal, escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@lru_cache(maxsize=8)  # a lot's lines are of one second or two
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def _as_text(value: object) -> str:
    return quoted(str(value))


# By exact type: a line has twenty values, and each costs half of what a chain of questions would.
_TO_JSON: Mapping[type, Callable[[Any], str]] = {
    str: quoted,
    int: str,
    float: "%.6f".__mod__,
    bool: lambda value: "true" if value else "false",
}


def _plain(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else quoted(text)
