"""The id of a request, under which its caller and the server's log both know it."""

from __future__ import annotations

import random
import re

# gRPC metadata and HTTP header; lower case, as gRPC asks for.
REQUEST_ID = "x-request-id"
MAX_CHARS = 128
_PRINTABLE = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")


# Ids must differ, not be secret: a number of 64 bits without a system call for each request.
_numbers = random.Random()


def fresh_id() -> str:
    """An id that nobody has: 16 hexadecimal digits."""
    return f"{_numbers.getrandbits(64):016x}"


def is_valid(text: str) -> bool:
    """Whether it can be an id: 1 to ``MAX_CHARS`` printable ASCII characters, none of them a space at an end."""
    return _PRINTABLE.fullmatch(text) is not None


def accepted(text: str | None) -> str:
    """The caller's own id; a fresh one where there is none, or one that no log line should hold."""
    return text if text and is_valid(text) else fresh_id()
