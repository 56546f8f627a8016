"""What a server's refusal, or no server at all, is called on the client's side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

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
    OcellaError,
    OverloadedError,
    ServerFaultError,
    ServiceUnavailableError,
    UnauthenticatedError,
    UnknownModelError,
    UnknownPersonError,
)
from protos.ocella.v1 import vision_pb2 as pb

DOMAIN = "ocella"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
# By the reason that the server names.
BY_REASON: Mapping[str, type[OcellaError]] = {
    "DeadlineExceededError": DeadlineExceededError,
    "DrainingError": DrainingError,
    "FaceRefusedError": FaceRefusedError,
    "GalleryError": GalleryError,
    "ImageDecodeError": ImageDecodeError,
    "ImageTooLargeError": ImageTooLargeError,
    "InternalError": ServerFaultError,
    "InvalidRequestError": InvalidRequestError,
    "ModelNotReadyError": ModelNotReadyError,
    "NotAllowedError": NotAllowedError,
    "NotOfferedError": NotOfferedError,
    "UnauthenticatedError": UnauthenticatedError,
    "UnknownModelError": UnknownModelError,
    "UnknownPersonError": UnknownPersonError,
}
# By code, where gRPC itself or a proxy refused; of RESOURCE_EXHAUSTED see ``_exhausted``.
BY_CODE: Mapping[grpc.StatusCode, type[OcellaError]] = {
    grpc.StatusCode.CANCELLED: ServiceUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailableError,
}
OVERLOADED = "OverloadedError"
# How every implementation of gRPC says that a message (core, Go; Java) or metadata (core) are above a limit of size.
_MESSAGE_TOO_LARGE, _METADATA_TOO_LARGE = ("larger than max", "exceeds maximum size"), "metadata size exceeds"


def error_of_call(error: grpc.RpcError, address: str) -> OcellaError:
    """Name what a failed call means: the server's own error where it says so, else one by gRPC's code."""
    code, details = error.code(), error.details() or ""
    reason, retry_after_s = _details(error)
    if reason:
        return _by_reason(reason, details, retry_after_s)
    message = f"{address}: {code.name}: {details}" if details else f"{address}: {code.name}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(message, details, retry_after_s)
    return BY_CODE.get(code, ServerFaultError)(message)


def error_of_frame(error: pb.Error) -> OcellaError:
    """Name what went wrong with one request of a stream."""
    return _by_reason(error.reason, error.message, error.retry_after_s)


def _by_reason(reason: str, message: str, retry_after_s: float) -> OcellaError:
    if reason == OVERLOADED:
        return OverloadedError(message, retry_after_s=retry_after_s)
    return BY_REASON.get(reason, ServerFaultError)(message)


def _exhausted(message: str, details: str, retry_after_s: float) -> OcellaError:
    """What gRPC or a proxy ran out of: a limit of size, which it names, or else room."""
    if any(words in details for words in _MESSAGE_TOO_LARGE):
        return ImageTooLargeError(message)
    if _METADATA_TOO_LARGE in details:
        return InvalidRequestError(message)
    return OverloadedError(message, retry_after_s=retry_after_s)


def _details(error: grpc.RpcError) -> tuple[str, float]:
    """Reason and retry hint from the trailing metadata; empty and 0 where there are none of ours."""
    reason, retry_after_s = "", 0.0
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key != STATUS_DETAILS_KEY:
            continue
        for detail in Status.FromString(value).details:
            info, retry = ErrorInfo(), RetryInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                reason = info.reason
            elif detail.Unpack(retry):
                retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return reason, retry_after_s
