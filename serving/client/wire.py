"""Calls to wire messages, wire messages to results: the client's side of ``ocella.v1``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.errors import ImageDecodeError, InvalidRequestError, ServerFaultError
from pipelines.types import (
    AnyArray,
    BoolArray,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    Result,
    SegmentationMap,
)
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.results import Image, ModelDescription, ModelStatus, Options, Prediction, Timings

MASK_FORMATS = {"png": pb.MASK_FORMAT_PNG, "rle": pb.MASK_FORMAT_RLE}


def write_request(
    model: str, image: Image, options: Options, *, version: int = 0, window: int = 0, id: str = ""
) -> pb.PredictRequest:
    """Write a predict request.

    Raises:
        ImageDecodeError: the image cannot be sent.
        InvalidRequestError: an option has no such name, type or range.
    """
    fields: dict[str, Any] = dict(options)
    mask_format = fields.pop("mask_format", None)
    if mask_format is not None and mask_format not in MASK_FORMATS:
        raise InvalidRequestError(f"mask_format must be one of {sorted(MASK_FORMATS)}, got {mask_format!r}")
    data = encode_image(image)
    try:
        return pb.PredictRequest(
            model=model,
            version=version,
            image=data,
            id=id,
            options=pb.PredictOptions(**fields, mask_format=MASK_FORMATS[mask_format] if mask_format else None),
            stream_options=pb.StreamOptions(window=window) if window else None,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"the request cannot be written: {error}") from error


def encode_image(image: Image) -> bytes:
    """Encoded bytes as they are, a file's bytes, or RGB ``(H, W, 3)`` uint8 as PNG (lossless)."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise ImageDecodeError(f"{image} cannot be read: {error.strerror}") from error
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageDecodeError(f"image must be bytes, a path, or an RGB array (H, W, 3) uint8, got {got}")
    if image.size == 0:
        raise ImageDecodeError(f"image must have pixels, got shape {image.shape}")
    written, data = cv2.imencode(".png", image[..., ::-1])
    if not written:
        raise ImageDecodeError(f"an image of {image.shape[1]}x{image.shape[0]} cannot be written as PNG")
    return data.tobytes()


def read_prediction(response: pb.PredictResponse) -> Prediction:
    """A predict response that holds a result; raises ServerFaultError for one that holds none."""
    timings = None
    if response.HasField("timings"):
        sent = response.timings
        timings = Timings(sent.decode_s, sent.preprocess_s, sent.queue_s, sent.inference_s, sent.postprocess_s)
    image_hw = (response.image.height, response.image.width)
    try:
        result = _read_result(response, image_hw)
    except ValueError as error:
        raise ServerFaultError(f"the server's answer does not fit together: {error}") from error
    return Prediction(result, response.model, response.version, image_hw, timings, response.id)


def read_status(status: pb.ModelStatus) -> ModelStatus:
    """One row of ListModels."""
    return ModelStatus(status.name, status.version, status.task, status.ready, status.reason)


def read_description(message: pb.DescribeModelResponse) -> ModelDescription:
    """The answer of DescribeModel."""
    return ModelDescription(
        message.model, message.version, message.manifest_json, message.provider, message.max_batch, message.golden
    )


def _read_result(response: pb.PredictResponse, image_hw: tuple[int, int]) -> Result:
    kind = response.WhichOneof("outcome")
    if kind == "classification":
        found = response.classification
        return Classification(_ints(found.class_ids), _floats(found.scores), tuple(found.labels))
    if kind == "detections":
        return _read_detections(response.detections)
    if kind == "segmentation":
        return _read_segmentation(response.segmentation, image_hw)
    if kind == "embedding":
        return Embedding(_floats(response.embedding.vector))
    raise ServerFaultError(f"the server answered with {kind or 'nothing'}, which this client does not know")


def _read_detections(message: pb.Detections) -> Detections:
    count = len(message.scores)
    keypoints = None
    if message.HasField("keypoints"):
        keypoints = _floats(message.keypoints.values).reshape(count, message.keypoints.per_object, 3)
    polygons = None
    if message.HasField("polygons"):
        points = _floats(message.polygons.values).reshape(-1, 2)
        ends = np.cumsum([0, *message.polygons.sizes], dtype=np.int64)
        if len(message.polygons.sizes) != count or ends[-1] != len(points):
            raise ValueError(f"polygons must be {count} of {ends[-1]} points together, got {len(points)} points")
        polygons = tuple(points[start:end] for start, end in pairwise(ends))
    return Detections(
        boxes=_floats(message.boxes).reshape(count, 4),
        scores=_floats(message.scores),
        class_ids=_ints(message.class_ids),
        labels=tuple(message.labels),
        keypoints=keypoints,
        polygons=polygons,
        masks=_read_masks(message.masks) if message.HasField("masks") else None,
        angles=_floats(message.angles.radians) if message.HasField("angles") else None,
        skeleton=_read_skeleton(message.keypoints.skeleton),
    )


def _read_skeleton(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if len(indices) % 2:
        raise ValueError(f"skeleton must hold pairs of indices, got {len(indices)} indices")
    return tuple(zip(indices[::2], indices[1::2], strict=True))


def _read_masks(message: pb.ObjectMasks) -> tuple[BoolArray, ...]:
    return tuple(_unroll(mask.counts, (mask.height, mask.width)) for mask in message.objects)


def _read_segmentation(message: pb.Segmentation, image_hw: tuple[int, int]) -> SegmentationMap:
    labels = tuple(message.labels)
    if not message.class_map_png:
        return SegmentationMap(_fill(message.class_masks, image_hw, len(labels)), None, labels)
    alpha = _plane(message.alpha_png).astype(np.uint8, copy=False) if message.HasField("alpha_png") else None
    return SegmentationMap(_plane(message.class_map_png), alpha, labels)


def _fill(masks: Iterable[pb.ClassMask], image_hw: tuple[int, int], classes: int) -> AnyArray:
    """Masks of classes back to a class map."""
    largest = max([classes - 1, *(mask.class_id for mask in masks)])
    class_map = np.zeros(image_hw, np.uint8 if largest < 256 else np.uint16)
    for mask in masks:
        class_map[_unroll(mask.counts, image_hw)] = mask.class_id
    return class_map


def _unroll(counts: Iterable[int], hw: tuple[int, int]) -> BoolArray:
    """Run lengths, column by column, back to a mask ``(H, W)``; raises ValueError where they do not fill it."""
    runs, (height, width) = _ints(counts), hw
    if runs.sum() != height * width:
        raise ValueError(f"run lengths must sum to {height} x {width}, they sum to {runs.sum():,}")
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(columns.reshape(width, height).T)


def _plane(png: bytes) -> AnyArray:
    plane = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError("a mask is not a PNG")
    return plane


def _floats(values: object) -> FloatArray:
    return np.array(values, np.float32)


def _ints(values: object) -> AnyArray:
    return np.array(values, np.int64)
