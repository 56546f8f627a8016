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
from pipelines.present import encode_png
from pipelines.rle import encode, encode_classes
from pipelines.types import (
    AnyArray,
    BoolArray,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    SegmentationMap,
    pixel_windows,
)
from protos.ocella.v1 import vision_pb2 as pb
from serving.catalog import ModelStatus
from serving.dataplane import Answer, Description, PredictCall
from serving.status import Failure

DOMAIN = "ocella"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
MAX_WINDOW = 256
MASK_FORMATS = (pb.MASK_FORMAT_PNG, pb.MASK_FORMAT_RLE)


@dataclass(frozen=True)
class AnswerForm:
    """How a request wants its answer written.

    Attributes:
        id: echoed.
        mask_format: of a segmentation; ``MASK_FORMAT_UNSPECIFIED`` is PNG.
        timings: whether the answer carries them.
    """

    id: str
    mask_format: int
    timings: bool


def read_call(request: pb.PredictRequest, *, deadline: float) -> tuple[PredictCall, AnswerForm]:
    """A predict request as a call; raises InvalidRequestError for a field out of range."""
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
    )
    return call, AnswerForm(request.id, options.mask_format, options.timings)


def read_window(request: pb.PredictRequest, *, default: int) -> int:
    """The window that the first request of a stream asks for; raises InvalidRequestError."""
    window = request.stream_options.window
    if not 0 <= window <= MAX_WINDOW:
        raise InvalidRequestError(f"stream_options.window must be between 0 and {MAX_WINDOW}, got {window}")
    return window or default


def check_form(form: AnswerForm, task: str) -> None:
    """Raise InvalidRequestError where answers of ``task`` cannot be written so."""
    if form.mask_format and task != "segmentation":
        raise InvalidRequestError(f"mask_format does not apply to {task}, it does to segmentation")


def write_answer(answer: Answer, form: AnswerForm) -> pb.PredictResponse:
    """An answer as a message, in a form that ``check_form`` let through."""
    result = answer.result
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
    if isinstance(result, Classification):
        response.classification.CopyFrom(
            pb.Classification(class_ids=result.class_ids.tolist(), scores=result.scores.tolist(), labels=result.labels)
        )
    elif isinstance(result, Detections):
        response.detections.CopyFrom(_write_detections(result))
    elif isinstance(result, SegmentationMap):
        response.segmentation.CopyFrom(_write_segmentation(result, form.mask_format))
    else:
        response.embedding.CopyFrom(_write_embedding(result))
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


def _write_detections(result: Detections) -> pb.Detections:
    message = pb.Detections(
        boxes=result.boxes.ravel().tolist(),
        scores=result.scores.tolist(),
        class_ids=result.class_ids.tolist(),
        labels=result.labels,
    )
    if result.keypoints is not None:
        message.keypoints.per_object = result.keypoints.shape[1]
        message.keypoints.values.extend(result.keypoints.ravel().tolist())
        message.keypoints.skeleton.extend(index for pair in result.skeleton for index in pair)
    if result.polygons is not None:
        message.polygons.SetInParent()
        for polygon in result.polygons:
            message.polygons.sizes.append(len(polygon))
            message.polygons.values.extend(polygon.ravel().tolist())
    if result.masks is not None:
        message.masks.CopyFrom(_write_masks(result.masks, result.boxes))
    if result.angles is not None:
        message.angles.CopyFrom(pb.Angles(radians=result.angles.tolist()))
    return message


def _write_masks(masks: tuple[BoolArray, ...], boxes: FloatArray) -> pb.ObjectMasks:
    corners = pixel_windows(boxes)[:, :2].tolist()
    return pb.ObjectMasks(
        objects=[
            pb.ObjectMask(left=left, top=top, width=mask.shape[1], height=mask.shape[0], counts=encode(mask).tolist())
            for mask, (left, top) in zip(masks, corners, strict=True)
        ]
    )


def _write_segmentation(result: SegmentationMap, mask_format: int) -> pb.Segmentation:
    if mask_format == pb.MASK_FORMAT_RLE:
        return pb.Segmentation(labels=result.labels, class_masks=_class_masks(result.class_map))
    return pb.Segmentation(
        labels=result.labels,
        class_map_png=encode_png(result.class_map),
        alpha_png=None if result.alpha is None else encode_png(result.alpha),
    )


def _write_embedding(result: Embedding) -> pb.Embedding:
    return pb.Embedding(vector=result.vector.tolist())


def _class_masks(class_map: AnyArray) -> list[pb.ClassMask]:
    runs = encode_classes(class_map)
    return [pb.ClassMask(class_id=class_id, counts=counts.tolist()) for class_id, counts in runs.items()]


def _pack(detail: ErrorInfo | RetryInfo) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
