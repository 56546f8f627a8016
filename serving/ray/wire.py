"""What a router must read of messages that it hands on, and write of answers that are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpc import StatusCode

from protos.ocella.v1 import vision_pb2 as pb
from protos.oip import infer_pb2, metadata_pb2, model_config_pb2
from serving.handlers import Malformed, reader_of, well_formed
from serving.oip.wire import write_stream_error
from serving.ray.messages import Raw
from serving.status import Failure, Status
from serving.wire import STATUS_DETAILS_KEY, write_frame_failure, write_status_details


@dataclass(frozen=True)
class Named:
    """A message that names the model that it is for, in one of its fields."""

    kind: type[Message]
    field: str

    def model_of(self, data: bytes) -> str:
        """The name in a message; raises InvalidRequestError where the bytes are none."""
        return str(getattr(well_formed(reader_of(self.kind)(data)), self.field))


# The methods whose requests are for one model.
NAMED: Mapping[str, Named] = {
    "Predict": Named(pb.PredictRequest, "model"),
    "PredictStream": Named(pb.PredictRequest, "model"),
    "PredictTiles": Named(pb.PredictRequest, "model"),
    "DescribeModel": Named(pb.DescribeModelRequest, "model"),
    "ModelInfer": Named(infer_pb2.ModelInferRequest, "model_name"),
    "ModelStreamInfer": Named(infer_pb2.ModelInferRequest, "model_name"),
    "ModelReady": Named(metadata_pb2.ModelReadyRequest, "name"),
    "ModelMetadata": Named(metadata_pb2.ModelMetadataRequest, "name"),
    "ModelConfig": Named(model_config_pb2.ModelConfigRequest, "name"),
}


def read_failure(code: StatusCode, message: str, details: bytes) -> Failure:
    """The failure that a handler ended its call with; the inverse of ``write_status_details``."""
    reason, retry_after_s = "", None
    for detail in RpcStatus.FromString(details).details:
        info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return Failure(Status(code, 0), reason, message, retry_after_s)


def tell(outcome: bytes | Failure, context: Any, headers: Sequence[tuple[str, str]]) -> Raw:
    """Hand an outcome to Ray; a failure goes into its stand-in for gRPC's context, beside an answer that nobody reads.

    ``headers`` go back with either, as trailing metadata.
    """
    if isinstance(outcome, bytes):
        context.set_trailing_metadata(list(headers))
        return Raw(outcome)
    context.set_code(outcome.status.grpc)
    context.set_details(outcome.message)
    context.set_trailing_metadata([*headers, (STATUS_DETAILS_KEY, write_status_details(outcome))])
    return Raw(b"")


def fail_frame(failure: Failure, data: bytes) -> bytes:
    """What a stream of ``Vision`` answers to a request that failed."""
    request = reader_of(pb.PredictRequest)(data)
    asked = pb.PredictRequest() if isinstance(request, Malformed) else request
    return write_frame_failure(failure, asked).SerializeToString()


def fail_infer(failure: Failure, data: bytes) -> bytes:
    """What a stream of the Open Inference Protocol answers to a request that failed."""
    request = reader_of(infer_pb2.ModelInferRequest)(data)
    request_id = "" if isinstance(request, Malformed) else request.id
    return write_stream_error(f"{failure.status.grpc.name}: {failure.message}", request_id)
