"""The methods of ``ocella.v1.Vision`` as gRPC handlers; bytes that are no message reach them as ``Malformed``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from protos.ocella.v1 import vision_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Vision"].full_name
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Malformed:
    """A request whose bytes are not a message of its ``kind``; gRPC alone would call that UNKNOWN and count nothing."""

    kind: str


def vision_handlers(vision: Any) -> Any:
    """The generic handler of the servicer's methods."""
    handlers = {
        "Predict": _unary(vision.Predict, pb.PredictRequest),
        "PredictStream": grpc.stream_stream_rpc_method_handler(
            vision.PredictStream, _reader_of(pb.PredictRequest), pb.PredictResponse.SerializeToString
        ),
        "ListModels": _unary(vision.ListModels, pb.ListModelsRequest),
        "DescribeModel": _unary(vision.DescribeModel, pb.DescribeModelRequest),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _unary(method: Any, kind: type[Message]) -> Any:
    return grpc.unary_unary_rpc_method_handler(method, _reader_of(kind), lambda answer: answer.SerializeToString())


def _reader_of(kind: type[M]) -> Callable[[bytes], M | Malformed]:
    def read(data: bytes) -> M | Malformed:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Malformed(kind.DESCRIPTOR.name)

    return read
