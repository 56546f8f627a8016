import grpc
import pytest

from pipelines.errors import (
    DeadlineExceededError,
    ImageTooLargeError,
    InvalidRequestError,
    NotAllowedError,
    OverloadedError,
    ServerFaultError,
    ServiceUnavailableError,
    UnauthenticatedError,
    UnknownModelError,
)
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.errors import error_of_call, error_of_frame
from serving.status import STATUS, failure_of
from serving.wire import STATUS_DETAILS_KEY, write_frame_failure, write_status_details


class Refusal(grpc.RpcError):
    """A failed call as gRPC raises it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, bytes], ...] = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailers


def errors() -> list[Exception]:
    """One of each error that the server tells of over gRPC; those of HTTP alone live beside it."""
    return [
        kind("why", retry_after_s=0.75) if kind is OverloadedError else kind("why")
        for kind in STATUS
        if kind.__module__ == "pipelines.errors"
    ]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_itself(error: Exception):
    failure = failure_of(error, request_id="7")
    call = Refusal(failure.status.grpc, failure.message, ((STATUS_DETAILS_KEY, write_status_details(failure)),))
    frame = write_frame_failure(failure, pb.PredictRequest()).error
    for back in (error_of_call(call, "host:1"), error_of_frame(frame)):
        assert type(back) is type(error)
        assert str(back) == "why"
        assert getattr(back, "retry_after_s", None) == getattr(error, "retry_after_s", None)


def test_an_internal_error_comes_back_as_the_servers_fault():
    failure = failure_of(KeyError("secret"), request_id="7f")
    call = Refusal(failure.status.grpc, failure.message, ((STATUS_DETAILS_KEY, write_status_details(failure)),))
    back = error_of_call(call, "host:1")
    assert type(back) is ServerFaultError
    assert str(back) == "internal error, request 7f"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServiceUnavailableError),
        (grpc.StatusCode.CANCELLED, ServiceUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
        (grpc.StatusCode.NOT_FOUND, UnknownModelError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadedError),
        (grpc.StatusCode.UNAUTHENTICATED, UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, NotAllowedError),
        (grpc.StatusCode.UNIMPLEMENTED, ServerFaultError),
        (grpc.StatusCode.UNKNOWN, ServerFaultError),
    ],
)
def test_a_refusal_by_grpc_itself_names_the_address_and_the_code(code: grpc.StatusCode, error: type[Exception]):
    back = error_of_call(Refusal(code, "said grpc"), "host:1")
    assert type(back) is error
    assert str(back) == f"host:1: {code.name}: said grpc"


@pytest.mark.parametrize(
    ("details", "error"),
    [
        ("SERVER: Received message larger than max (5 vs. 4)", ImageTooLargeError),
        ("grpc: received message larger than max (5 vs. 4)", ImageTooLargeError),
        ("gRPC message exceeds maximum size 4: 5", ImageTooLargeError),
        ("received initial metadata size exceeds hard limit (5 vs. 4)", InvalidRequestError),
        ("", OverloadedError),
    ],
)
def test_resource_exhausted_names_what_was_exhausted(details: str, error: type[Exception]):
    assert type(error_of_call(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, details), "host:1")) is error


def test_the_details_of_another_service_are_not_taken_for_ours():
    from google.protobuf.any_pb2 import Any
    from google.rpc.error_details_pb2 import ErrorInfo
    from google.rpc.status_pb2 import Status

    detail = Any()
    detail.Pack(ErrorInfo(domain="proxy.example", reason="UnknownModelError"))
    trailers = ((STATUS_DETAILS_KEY, Status(code=14, details=[detail]).SerializeToString()),)
    assert type(error_of_call(Refusal(grpc.StatusCode.UNAVAILABLE, "no", trailers), "h:1")) is ServiceUnavailableError


def test_a_proxys_refusal_that_says_when_to_come_again_is_an_overload():
    from google.protobuf.any_pb2 import Any
    from google.protobuf.duration_pb2 import Duration
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    detail = Any()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=2)))
    trailers = ((STATUS_DETAILS_KEY, Status(code=8, details=[detail]).SerializeToString()),)
    back = error_of_call(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", trailers), "h:1")
    assert type(back) is OverloadedError
    assert back.retry_after_s == 2.0
