"""Wire messages to calls, answers to wire messages: no message of any protocol travels past this file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions
from protos.ocella.v1 import vision_pb2 as pb
from serving.catalog import ModelStatus
from serving.dataplane import Answer, Description, PredictCall
from serving.status import Failure
from serving.wire_results import MASK_FORMATS, write_result

DOMAIN = "ocella"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
MAX_WINDOW = 256


@dataclass(frozen=True)
class AnswerForm:
    """How a request wants its answer written.

    Attributes:
        id: echoed.
        mask_format: of masks; ``MASK_FORMAT_UNSPECIFIED`` is PNG for a segmentation, RLE for objects.
        timings: whether the answer carries them.
        embeddings: whether faces carry theirs.
    """

    id: str
    mask_format: int
    timings: bool
    embeddings: bool = False


def read_call(request: pb.PredictRequest, *, deadline: float, client: str = "") -> tuple[PredictCall, AnswerForm]:
    """A predict request of a client as a call; raises InvalidRequestError for a field out of range."""
    options = request.options
    if options.mask_format and options.mask_format not in MASK_FORMATS:
        names = ", ".join(pb.MaskFormat.Name(known) for known in MASK_FORMATS)
        raise InvalidRequestError(f"mask_format must be one of {names}, got {options.mask_format}")
    call = PredictCall(
        model=request.model,
        version=request.version,
        image=request.image,
        options=PredictOptions(
            score_threshold=options.score_threshold if options.HasField("score_threshold") else None,
            iou_threshold=options.iou_threshold if options.HasField("iou_threshold") else None,
            max_detections=options.max_detections if options.HasField("max_detections") else None,
            top_k=options.top_k if options.HasField("top_k") else None,
        ),
        deadline=deadline,
        client=client,
    )
    return call, AnswerForm(request.id, options.mask_format, options.timings, options.embeddings)


def read_window(request: pb.PredictRequest, *, default: int) -> int:
    """The window that the first request of a stream asks for; raises InvalidRequestError."""
    window = request.stream_options.window
    if not 0 <= window <= MAX_WINDOW:
        raise InvalidRequestError(f"stream_options.window must be between 0 and {MAX_WINDOW}, got {window}")
    return window or default


def check_form(form: AnswerForm, *, has_masks: bool) -> None:
    """Raise InvalidRequestError where a model's answers cannot be written so; ``has_masks``: whether they hold any."""
    if form.mask_format and not has_masks:
        raise InvalidRequestError("mask_format does not apply to a model whose answers hold no mask")


def write_answer(answer: Answer, form: AnswerForm) -> pb.PredictResponse:
    """An answer as a message, in a form that ``check_form`` let through."""
    height, width = answer.image_hw
    response = pb.PredictResponse(
        id=form.id, model=answer.model, version=answer.version, image=pb.ImageSize(width=width, height=height)
    )
    if form.timings:
        timings = answer.timings
        response.timings.decode_s = timings.decode_s
        response.timings.preprocess_s = timings.preprocess_s
        response.timings.queue_s = timings.queue_s
        response.timings.inference_s = timings.inference_s
        response.timings.postprocess_s = timings.postprocess_s
    write_result(response, answer.result, form.mask_format, embeddings=form.embeddings)
    return response


def write_frame_failure(failure: Failure, request: pb.PredictRequest) -> pb.PredictResponse:
    """What a stream answers to a request that failed."""
    code, _ = failure.status.grpc.value
    error = pb.Error(code=code, reason=failure.reason, message=failure.message, retry_after_s=failure.retry_after_s)
    return pb.PredictResponse(id=request.id, model=request.model, version=request.version, error=error)


def write_status_details(failure: Failure) -> bytes:
    """The failure as ``google.rpc.Status``, for the trailing metadata ``grpc-status-details-bin``."""
    details = [_pack(ErrorInfo(reason=failure.reason, domain=DOMAIN))]
    if failure.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(failure.retry_after_s * 1e9))
        details.append(_pack(RetryInfo(retry_delay=delay)))
    code, _ = failure.status.grpc.value
    return RpcStatus(code=code, message=failure.message, details=details).SerializeToString()


def write_models(statuses: Iterable[ModelStatus]) -> pb.ListModelsResponse:
    """Known model versions as a message."""
    return pb.ListModelsResponse(
        models=[
            pb.ModelStatus(
                name=status.name, version=status.version, task=status.task, ready=status.ready, reason=status.reason
            )
            for status in statuses
        ]
    )


def write_description(description: Description) -> pb.DescribeModelResponse:
    """A model's description as a message."""
    return pb.DescribeModelResponse(
        model=description.model,
        version=description.version,
        manifest_json=description.manifest_json,
        provider=description.provider,
        max_batch=description.max_batch,
        golden=description.golden,
    )


def _pack(detail: ErrorInfo | RetryInfo) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
