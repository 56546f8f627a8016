"""One content: read, hashed, and its result made into what the journal keeps, on threads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.errors import ImageTooLargeError
from pipelines.present import to_json
from pipelines.types import ByteArray, Result
from serving.batch.draw import Overlays, overlay, thumbnail
from serving.batch.engine import IMAGE_FAULTS
from serving.batch.entry import Entry
from serving.batch.errors import JobError
from serving.batch.facts import facts_of
from serving.batch.outcome import Outcome


@dataclass(frozen=True, eq=False)
class Content:
    """The bytes of an image, as they were read once and for all.

    Attributes:
        sha256: of ``data``, hexadecimal.
        data: encoded image.
        wants_thumbnail: whether the contact sheet may show it.
    """

    sha256: str
    data: bytes
    wants_thumbnail: bool


def read(entry: Entry, already: bytes | Exception | None, wants_thumbnail: bool) -> Content:
    """Read an entry, unless it was read in its turn; the SHA-256 is of the very bytes that are computed."""
    if isinstance(already, Exception):
        raise already
    data = entry.load() if already is None else already
    return Content(hashlib.sha256(data).hexdigest(), data, wants_thumbnail)


def lasts(error: Exception) -> bool:
    """Whether the image alone decides that it fails; a run that failed may go well on another day or machine.

    What is too large for one server, or for the proxy before it, another may take.
    """
    return isinstance(error, IMAGE_FAULTS) and not isinstance(error, ImageTooLargeError)


def is_whole(outcome: Outcome, overlays: Overlays | None) -> bool:
    """Whether nothing of an outcome is missing: an overlay that is asked for now and was not before, or is gone."""
    return overlays is None or outcome.failure is not None or overlays.has(outcome.sha256)


@dataclass(frozen=True)
class Finisher:
    """Makes an outcome of a result.

    Attributes:
        decode: the pixels that results refer to.
        overlays: where each result is drawn; ``None``: nowhere.
    """

    decode: Callable[[bytes], ByteArray]
    overlays: Overlays | None = None

    def finish(self, content: Content, result: Result, image_hw: tuple[int, int], seconds: float) -> Outcome:
        """Put a result into JSON and draw what is wanted; raises JobError where an overlay cannot be written."""
        document, small = to_json(result), b""
        if self.overlays or content.wants_thumbnail:
            drawn = overlay(self.decode(content.data), result)
            small = thumbnail(drawn) if content.wants_thumbnail else b""
            if self.overlays:
                try:
                    self.overlays.write(content.sha256, drawn)
                except OSError as error:
                    raise JobError(f"{self.overlays.folder} cannot be written: {error.strerror}") from error
        return Outcome(
            sha256=content.sha256,
            image_hw=image_hw,
            result_json=json.dumps(document, allow_nan=False),
            facts_json=json.dumps(facts_of(document)),
            seconds=seconds,
            thumbnail=small,
        )
