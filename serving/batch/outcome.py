"""What became of one image: its result as JSON, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from json import loads
from typing import Any

from pipelines.errors import OcellaError, ServerFaultError
from serving.batch.entry import Entry

_MOST_WORDS = 500
# A server's own words carry a request id, which would differ from run to run.
_SERVER_FAULT = "the server reported an internal error, its log says which"


@dataclass(frozen=True)
class Failure:
    """Why an image has no result.

    Attributes:
        reason: name of the error class.
        message: one line, the same in every run.
        lasting: whether the same bytes would fail again; one that may not is tried anew by the next run.
    """

    reason: str
    message: str
    lasting: bool


@dataclass(frozen=True)
class Outcome:
    """What became of one content; images of equal bytes share it.

    Attributes:
        sha256: of the bytes that were computed, hexadecimal; empty where none could be read.
        image_hw: size of the image after its EXIF orientation; (0, 0) where it failed.
        result_json: the result as one line of JSON; empty where it failed.
        failure: why it failed; else ``None``.
        facts_json: what the summary counts of it, as JSON; empty where it failed.
        seconds: of work; 0 where it failed.
        thumbnail: small JPEG of the overlay where the contact sheet may want it; else empty.
    """

    sha256: str
    image_hw: tuple[int, int] = (0, 0)
    result_json: str = ""
    failure: Failure | None = None
    facts_json: str = ""
    seconds: float = 0.0
    thumbnail: bytes = b""


@dataclass(frozen=True)
class Row:
    """One row of the outputs: an entry at its place, and what became of it.

    Attributes:
        index: place among all entries of the sources, from 0; a shard's rows keep it.
        position: place among the rows of this job, from 0.
        entry: the image.
        outcome: what became of it.
    """

    index: int
    position: int
    entry: Entry
    outcome: Outcome

    @cached_property
    def result(self) -> dict[str, Any]:
        """The result's JSON, parsed once for all writers that look inside."""
        parsed: dict[str, Any] = loads(self.outcome.result_json)
        return parsed

    def head(self) -> Mapping[str, Any]:
        """The columns before the result or the error."""
        return {
            "index": self.index,
            "source": self.entry.text,
            **self.entry.details,
            "sha256": self.outcome.sha256 or None,
        }


def failure_of(error: Exception, *, lasting: bool) -> Failure:
    """Put an error into one line."""
    if isinstance(error, ServerFaultError):
        message = _SERVER_FAULT
    elif isinstance(error, OSError):
        message = error.strerror or str(error)
    else:
        known = isinstance(error, OcellaError)
        message = str(error) if known else f"the model failed with {type(error).__name__}: {error}"
    return Failure(type(error).__name__, " ".join(message.split())[:_MOST_WORDS], lasting)
