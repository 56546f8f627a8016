"""Calls to wire messages, wire messages to results: the client's side of ``ocella.v1``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.errors import ImageDecodeError, InvalidRequestError, ServerFaultError
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.results import Image, ModelDescription, ModelStatus, Options, Prediction, Timings
from serving.client.wire_results import read_result

MASK_FORMATS = {"png": pb.MASK_FORMAT_PNG, "rle": pb.MASK_FORMAT_RLE, "polygon": pb.MASK_FORMAT_POLYGON}


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
            # Faces come with their embeddings, as they do offline.
            options=pb.PredictOptions(
                **fields, mask_format=MASK_FORMATS[mask_format] if mask_format else None, embeddings=True
            ),
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
        result = read_result(response, image_hw)
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
