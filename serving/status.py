"""Errors to status codes: the one table, for gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpc import StatusCode

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    FaceRefusedError,
    GalleryError,
    ImageDecodeError,
    ImageTooLargeError,
    InvalidRequestError,
    ModelNotReadyError,
    NotAllowedError,
    NotOfferedError,
    OverloadedError,
    UnauthenticatedError,
    UnknownModelError,
    UnknownPersonError,
)
from serving.rest.errors import MediaTypeError, NotAcceptableError, RequestTooLargeError, StalledRequestError

INTERNAL_REASON = "InternalError"


@dataclass(frozen=True)
class Status:
    """What an error is called on each transport."""

    grpc: StatusCode
    http: int


STATUS: Mapping[type[BaseException], Status] = {
    ImageDecodeError: Status(StatusCode.INVALID_ARGUMENT, 400),
    ImageTooLargeError: Status(StatusCode.INVALID_ARGUMENT, 413),
    InvalidRequestError: Status(StatusCode.INVALID_ARGUMENT, 400),
    UnknownModelError: Status(StatusCode.NOT_FOUND, 404),
    ModelNotReadyError: Status(StatusCode.UNAVAILABLE, 503),
    DrainingError: Status(StatusCode.UNAVAILABLE, 503),
    OverloadedError: Status(StatusCode.RESOURCE_EXHAUSTED, 429),
    DeadlineExceededError: Status(StatusCode.DEADLINE_EXCEEDED, 504),
    FaceRefusedError: Status(StatusCode.INVALID_ARGUMENT, 400),
    UnknownPersonError: Status(StatusCode.NOT_FOUND, 404),
    GalleryError: Status(StatusCode.FAILED_PRECONDITION, 409),
    UnauthenticatedError: Status(StatusCode.UNAUTHENTICATED, 401),
    NotAllowedError: Status(StatusCode.PERMISSION_DENIED, 403),
    NotOfferedError: Status(StatusCode.UNIMPLEMENTED, 501),
    # Of HTTP alone.
    NotAcceptableError: Status(StatusCode.INVALID_ARGUMENT, 406),
    StalledRequestError: Status(StatusCode.DEADLINE_EXCEEDED, 408),
    RequestTooLargeError: Status(StatusCode.INVALID_ARGUMENT, 413),
    MediaTypeError: Status(StatusCode.INVALID_ARGUMENT, 415),
}
UNLISTED = Status(StatusCode.INTERNAL, 500)


@dataclass(frozen=True)
class Failure:
    """What a caller is told instead of an answer.

    Attributes:
        status: codes.
        reason: name of the error class, for clients that tell errors of one code apart.
        message: one line.
        retry_after_s: when to come again; ``None`` where the error does not say.
        request_id: under which the server's log holds the error; empty where the caller is told all of it.
    """

    status: Status
    reason: str
    message: str
    retry_after_s: float | None = None
    request_id: str = ""


def is_listed(error: BaseException) -> bool:
    """Whether the caller may know of the error; any other is a fault of ours, to be logged whole."""
    return type(error) in STATUS


def failure_of(error: BaseException, *, request_id: str) -> Failure:
    """Put an error into words and codes; an unlisted one tells nothing but ``request_id``."""
    status = STATUS.get(type(error))
    if status is None:
        return Failure(UNLISTED, INTERNAL_REASON, f"internal error, request {request_id}", request_id=request_id)
    retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
    return Failure(status, type(error).__name__, str(error), retry_after_s)
