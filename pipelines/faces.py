"""Faces brought into the pose that an embedder was trained on, by their landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipelines.batches import run_rows
from pipelines.errors import ImageTooLargeError
from pipelines.options import PredictOptions
from pipelines.similarity import Matrix, estimate_similarity, invert, move
from pipelines.types import AnyArray, ByteArray, Embedding, FloatArray

if TYPE_CHECKING:
    from pipelines.session import Session
    from pipelines.tasks.pipeline import Pipeline

# Of each template: where left eye, right eye, nose, left and right corner of the mouth (as seen in the picture) lie in
# a square of side 1. Coordinates are those of cv2.warpAffine, as in the code that the embedders were trained with.
_ARCFACE = np.array(  # InsightFace's 112 x 112 crop (arXiv:1801.07698, github.com/deepinsight/insightface)
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
# dlib's mean of 68 landmarks (image_transforms/interpolation.h), reduced to five: the means of the six points around
# each eye (36 to 41, 42 to 47), the tip of the nose (30) and the corners of the mouth (48, 54). Its face recognition
# cuts 150 px with a quarter of the face around it.
_DLIB_MEAN = np.array(
    [
        (0.2254918, 0.2159903),
        (0.7547613, 0.2159903),
        (0.490127, 0.515625),
        (0.254149, 0.780233),
        (0.726104, 0.780233),
    ]
)
_DLIB_PADDING = 0.25
# imutils' FaceAligner: the eyes on one level, 35 % of the side from the left, the right and the top.
_EYE_LINE = np.array([(0.35, 0.35), (0.65, 0.35)])

TEMPLATES: Mapping[str, Matrix] = {
    "arcface_112": _ARCFACE / 112,
    "dlib_150": (_DLIB_MEAN + _DLIB_PADDING) / (1 + 2 * _DLIB_PADDING),
    "eye_line": _EYE_LINE,
}
_WARP_LIMIT = 32_767  # sides that cv2.warpAffine refuses


def template_points(template: str, size_px: int) -> Matrix:
    """Where a template's landmarks lie in a square of ``size_px``: ``(5, 2)``, ``(2, 2)`` for ``eye_line``."""
    return TEMPLATES[template] * size_px


def align_transform(landmarks: AnyArray, template: str, size_px: int) -> Matrix:
    """The similarity ``(..., 2, 3)`` from an image to the template's square.

    Args:
        landmarks: ``(..., 5, 2)`` x, y in the template's order, ``(..., 2, 2)`` for ``eye_line``.
        template: key of ``TEMPLATES``.
        size_px: side of the square.

    Raises:
        ValueError: landmarks are of another number, or degenerate.
    """
    return estimate_similarity(landmarks, template_points(template, size_px))


def align(
    image: ByteArray, landmarks: AnyArray, *, template: str, size_px: int, pad_value: int = 0
) -> tuple[ByteArray, Matrix]:
    """Cut one face out of ``(H, W, 3)`` in the template's pose: ``(size_px, size_px, 3)`` uint8, and the transform.

    Raises as ``align_transform`` and ``warp``.
    """
    matrix = align_transform(landmarks, template, size_px)
    return warp(image, matrix, size_px=size_px, pad_value=pad_value), matrix


def warp(image: ByteArray, matrix: Matrix, *, size_px: int, pad_value: int) -> ByteArray:
    """Sample a square of ``size_px`` through ``(2, 3)`` from an image, bilinear (OpenCV: to 1/32 of a pixel).

    No low-pass filter goes before: a face much larger than the square is sampled as InsightFace samples it. Beyond the
    image lies ``pad_value``.

    Raises:
        ImageTooLargeError: the part of the image that the square shows has a side above 32,766 px.
    """
    square = np.array([(0, 0), (size_px, 0), (size_px, size_px), (0, size_px)])
    seen = move(invert(matrix), square)
    low = np.clip(np.floor(seen.min(axis=0)) - 2, 0, image.shape[1::-1]).astype(int)  # 2: bilinear's neighbours
    high = np.clip(np.ceil(seen.max(axis=0)) + 3, 0, image.shape[1::-1]).astype(int)
    if (high - low).min() <= 0:
        return np.full((size_px, size_px, 3), pad_value, np.uint8)
    if (high - low).max() >= _WARP_LIMIT:
        raise ImageTooLargeError(f"an aligned crop must show less than {_WARP_LIMIT:,} px a side, got {high - low}")
    part = image[low[1] : high[1], low[0] : high[0]]
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ low
    border = (pad_value, pad_value, pad_value)
    return cv2.warpAffine(  # type: ignore[return-value]  # the result has the dtype of its source
        part, shifted, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )


def embed_faces(
    embedder: Pipeline,
    session: Session,
    image: ByteArray,
    landmarks: AnyArray,
    *,
    template: str,
    size_px: int,
    pad_value: int = 0,
) -> FloatArray:
    """Align every face of an image and embed them as one batch.

    Args:
        embedder: of a package whose task is embedding.
        session: of the same package.
        image: ``(H, W, 3)`` uint8 RGB.
        landmarks: ``(N, 5, 2)`` or ``(N, 2, 2)``, as ``align_transform`` wants them.
        template: key of ``TEMPLATES``.
        size_px: side of the aligned crops, before the embedder's own fit.
        pad_value: beyond the image.

    Returns:
        ``(N, D)``; ``(0, 0)`` where there is no face, and nothing is run.
    """
    if not len(landmarks):
        return np.empty((0, 0), np.float32)
    matrices = align_transform(landmarks, template, size_px)
    prepared = [embedder.preprocess(warp(image, matrix, size_px=size_px, pad_value=pad_value)) for matrix in matrices]
    outputs = run_rows(session, [row for row, _ in prepared])
    return _vectors(
        [
            embedder.postprocess(output, affine, PredictOptions())
            for output, (_, affine) in zip(outputs, prepared, strict=True)
        ]
    )


def _vectors(results: Sequence[object]) -> FloatArray:
    for result in results:
        if not isinstance(result, Embedding):
            raise TypeError(f"the embedder must answer embeddings, it answers {type(result).__name__}")
    return np.stack([result.vector for result in results if isinstance(result, Embedding)])
