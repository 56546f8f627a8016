import pytest
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
    ModelRunError,
    NotAllowedError,
    NotOfferedError,
    OverloadedError,
    UnauthenticatedError,
    UnknownModelError,
    UnknownPersonError,
)
from serving.rest.errors import MediaTypeError, NotAcceptableError, RequestTooLargeError, StalledRequestError
from serving.status import STATUS, Failure, Status, failure_of, is_listed


@pytest.mark.parametrize(
    ("error", "code", "http"),
    [
        (ImageDecodeError("why"), StatusCode.INVALID_ARGUMENT, 400),
        (ImageTooLargeError("why"), StatusCode.INVALID_ARGUMENT, 413),
        (InvalidRequestError("why"), StatusCode.INVALID_ARGUMENT, 400),
        (UnknownModelError("why"), StatusCode.NOT_FOUND, 404),
        (ModelNotReadyError("why"), StatusCode.UNAVAILABLE, 503),
        (DrainingError("why"), StatusCode.UNAVAILABLE, 503),
        (OverloadedError("why", retry_after_s=1.5), StatusCode.RESOURCE_EXHAUSTED, 429),
        (DeadlineExceededError("why"), StatusCode.DEADLINE_EXCEEDED, 504),
        (FaceRefusedError("why"), StatusCode.INVALID_ARGUMENT, 400),
        (UnknownPersonError("why"), StatusCode.NOT_FOUND, 404),
        (GalleryError("why"), StatusCode.FAILED_PRECONDITION, 409),
        (UnauthenticatedError("why"), StatusCode.UNAUTHENTICATED, 401),
        (NotAllowedError("why"), StatusCode.PERMISSION_DENIED, 403),
        (NotOfferedError("why"), StatusCode.UNIMPLEMENTED, 501),
        (NotAcceptableError("why"), StatusCode.INVALID_ARGUMENT, 406),
        (StalledRequestError("why"), StatusCode.DEADLINE_EXCEEDED, 408),
        (RequestTooLargeError("why"), StatusCode.INVALID_ARGUMENT, 413),
        (MediaTypeError("why"), StatusCode.INVALID_ARGUMENT, 415),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_has_the_codes_of_the_contract(error: Exception, code: StatusCode, http: int):
    retry_after_s = 1.5 if isinstance(error, OverloadedError) else None
    expected = Failure(Status(code, http), type(error).__name__, "why", retry_after_s)
    assert failure_of(error, request_id="7") == expected
    assert is_listed(error)


def test_the_contract_lists_fourteen_errors_and_four_of_http_alone():
    assert len(STATUS) == 18


@pytest.mark.parametrize("error", [ModelRunError("secret"), RuntimeError("secret"), KeyError("secret")])
def test_an_unlisted_error_tells_nothing_but_the_request_id(error: Exception):
    failure = failure_of(error, request_id="7f")
    assert (failure.status, failure.message) == (Status(StatusCode.INTERNAL, 500), "internal error, request 7f")
    assert not is_listed(error)
