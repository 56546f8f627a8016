"""Query parameters: each known, given once, and in its range."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions
from serving.oip.requests import NO_OPTIONS

TIMEOUT = "timeout"
MAX_TIMEOUT_S = 86_400.0
THRESHOLDS = ("score_threshold", "iou_threshold")
COUNTS = ("max_detections", "top_k")
OPTIONS = (*THRESHOLDS, *COUNTS)
_MAX_FIELDS = 64


def read_query(query: str, known: Collection[str]) -> dict[str, str]:
    """The parameters by name; raises InvalidRequestError for one that is not ``known``, or comes twice."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:
        raise InvalidRequestError(f"the query must be NAME=VALUE pairs joined by &: {error}") from error
    return read_fields(pairs, known)


def read_fields(pairs: Collection[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    """Pairs by name; raises InvalidRequestError for a name that is not ``known``, or comes twice."""
    fields = dict(pairs)
    for name in fields:
        if name not in known:
            raise InvalidRequestError(f"parameters must be among {', '.join(known) or 'none'}, got {name[:64]!r}")
    if len(fields) != len(pairs):
        raise InvalidRequestError(f"each parameter must be given once, got {[name for name, _ in pairs]}")
    return fields


def read_timeout(fields: Mapping[str, str]) -> float:
    """Seconds that the request may take, infinite where it does not say; raises InvalidRequestError."""
    if TIMEOUT not in fields:
        return math.inf
    seconds = _number(TIMEOUT, fields[TIMEOUT])
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise InvalidRequestError(f"{TIMEOUT} must be seconds above 0, at most {MAX_TIMEOUT_S:g}, got {seconds:g}")
    return seconds


def read_options(fields: Mapping[str, str]) -> PredictOptions:
    """The pipeline's options; raises InvalidRequestError where one is no number or out of its range."""
    given: dict[str, float | int] = {name: _number(name, fields[name]) for name in THRESHOLDS if name in fields}
    given |= {name: _count(name, fields[name]) for name in COUNTS if name in fields}
    return PredictOptions(**given) if given else NO_OPTIONS  # type: ignore[arg-type]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidRequestError(f"{name} must be a number, got {text[:40]!r}") from error


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidRequestError(f"{name} must be a whole number, got {text[:40]!r}")
    return int(text)
