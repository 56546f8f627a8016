"""What a client of the soak was answered, and which answers it may be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.errors import (
    DeadlineExceededError,
    FrameDroppedError,
    ImageDecodeError,
    InvalidRequestError,
    ModelNotReadyError,
    OcellaError,
    OverloadedError,
    UnknownModelError,
)

OK, CANCELLED, LATE, BUSY = "OK", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"
DROPPED = "dropped"
CODES: Mapping[type[OcellaError], str] = {
    DeadlineExceededError: LATE,
    FrameDroppedError: DROPPED,
    ImageDecodeError: "INVALID_ARGUMENT",
    InvalidRequestError: "INVALID_ARGUMENT",
    ModelNotReadyError: "UNAVAILABLE",
    OverloadedError: BUSY,
    UnknownModelError: "NOT_FOUND",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One request, or one stream, as its client saw it.

    Attributes:
        request_id: that it was sent with.
        method: as the server names it.
        code: gRPC's, also over HTTP, where the answer's body has it.
        allowed: codes that explain themselves by what was asked.
        frames: of a stream that was read to its end, answers by code.
        words: of an error that is not allowed.
    """

    request_id: str
    method: str
    code: str
    allowed: frozenset[str]
    frames: Mapping[str, int] = field(default_factory=dict)
    words: str = ""

    @property
    def explained(self) -> bool:
        """Whether it is what was to be expected."""
        return self.code in self.allowed

    @property
    def left(self) -> bool:
        """Whether the client did not wait for the end: the server may have answered, or never have heard of it."""
        return self.code in (CANCELLED, LATE)

    @property
    def logged(self) -> frozenset[str]:
        """Codes that the server may have ended it with."""
        return self.allowed if self.left else frozenset({self.code})


def code_of(error: OcellaError) -> str:
    """The code of what a client raised; its class where it stands for no code that the soak can explain."""
    return CODES.get(type(error), type(error).__name__)
