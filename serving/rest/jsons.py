"""JSON bodies as plain values; whatever is no JSON object is the caller's mistake, however deep or long it is."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pipelines.errors import InvalidRequestError
from serving.rest.errors import RequestTooLargeError

# The interpreter is held while JSON is parsed, so everybody waits: some 300 ms at this size. Binary data is free.
MAX_JSON_BYTES = 16 * 1024 * 1024


def read_object(data: bytes | memoryview, *, what: str = "the body") -> dict[str, Any]:
    """A JSON object; no bytes at all are an empty one. NaN and infinities are read as Python writes them.

    Raises InvalidRequestError, RequestTooLargeError.
    """
    if len(data) > MAX_JSON_BYTES:
        raise RequestTooLargeError(
            f"{what} must have at most {MAX_JSON_BYTES:,} bytes of JSON, got {len(data):,}: send tensors as binary data"
        )
    if not len(data):
        return {}
    try:
        text = str(data, "utf-8")
        value = json.loads(text)
        if "\\u" in text:  # half of a surrogate pair can be escaped, and is no text
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} must be JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{what} must be a JSON object, got {kind_of(value)}")
    return value


def take(values: dict[str, Any], name: str, kind: type, *, what: str) -> Any:
    """One member of an object, an empty one of its kind where it is missing; raises InvalidRequestError for another."""
    value = values.get(name)
    if value is None:
        return kind()
    if type(value) is not kind:
        refuse_kind(f"{name} of {what}", kind, value)
    return value


def refuse_kind(what: str, kind: type, value: object) -> NoReturn:
    """Raise InvalidRequestError: ``value`` is not of ``kind``."""
    raise InvalidRequestError(f"{what} must be {_KINDS[kind]}, got {kind_of(value)}")


def kind_of(value: object) -> str:
    """What JSON calls a value's type."""
    return _KINDS[type(value)]


_KINDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "an array",
    str: "a string",
    type(None): "null",
}
