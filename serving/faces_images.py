"""Faces of an image as a gallery takes them: found, judged, cut out; pure functions over results of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.crops import landmarks_of
from pipelines.decisions import Candidate, Decision, IdentifiedFace, Thresholds
from pipelines.errors import FaceRefusedError
from pipelines.faces import warp
from pipelines.options import PredictOptions
from pipelines.present import encode_png
from pipelines.quality import DEFAULT_LIMITS, QualityLimits, count_problem, measure_whole, problems_of
from pipelines.specs import AlignCrop
from pipelines.tasks import CascadePipeline, Pipeline
from pipelines.types import ByteArray, CascadeResult, Embedding, FaceQuality, FloatArray, Result
from serving.gallery.store import Sample

NO_OPTIONS = PredictOptions()
MAX_IMAGES = 64


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face of an image.

    Attributes:
        vector: ``(D,)`` its embedding.
        quality: of its picture.
        box: left, top, right, bottom.
        score: the detector's; 1 where the whole image is the face.
        landmarks: ``(P, 2)`` x, y.
        transform: ``(2, 3)`` from image to aligned crop; ``None`` where the whole image is the face.
    """

    vector: FloatArray
    quality: FaceQuality
    box: tuple[float, float, float, float]
    score: float
    landmarks: FloatArray
    transform: FloatArray | None


def found_in(pipeline: Pipeline | CascadePipeline, image: ByteArray | None, result: Result) -> tuple[FoundFace, ...]:
    """The faces that a model answered with; of an embedder alone, the whole image, ``(H, W, 3)`` uint8 RGB."""
    if isinstance(result, Embedding):
        assert image is not None, "an embedder alone measures the whole image"
        height, width = image.shape[:2]
        box = (0.0, 0.0, float(width), float(height))
        return (FoundFace(result.vector, measure_whole(image), box, 1.0, np.empty((0, 2), np.float32), None),)
    assert isinstance(result, CascadeResult)
    assert isinstance(pipeline, CascadePipeline)
    assert result.qualities is not None, "the binding was made of a model that embeds faces"
    crop = pipeline.manifest.head.crop
    assert isinstance(crop, AlignCrop)
    found = result.detections
    landmarks = landmarks_of(found, crop) if len(found) else np.empty((0, 0, 2), np.float32)
    faces = []
    for i, (quality, answer) in enumerate(zip(result.qualities, result.objects, strict=True)):
        assert isinstance(answer, Embedding)
        left, top, right, bottom = found.boxes[i].tolist()
        box = (left, top, right, bottom)
        score = float(found.scores[i])
        faces.append(FoundFace(answer.vector, quality, box, score, landmarks[i], result.transforms[i]))
    return tuple(faces)


def one_face(faces: Sequence[FoundFace]) -> FoundFace:
    """The only face; raises FaceRefusedError where there is none or several."""
    problem = count_problem(len(faces))
    if problem:
        raise FaceRefusedError(problem)
    return faces[0]


def fit_to_enroll(images: Sequence[Sequence[FoundFace]], limits: QualityLimits = DEFAULT_LIMITS) -> list[FoundFace]:
    """The one face of each image; raises FaceRefusedError with every reason of every image that is not fit."""
    reasons = []
    for number, faces in enumerate(images, start=1):
        problem = count_problem(len(faces))
        problems = (problem,) if problem else problems_of(faces[0].quality, limits)
        if problems:
            reasons.append((f"image {number}: " if len(images) > 1 else "") + "; ".join(problems))
    if reasons:
        raise FaceRefusedError(" | ".join(reasons))
    return [faces[0] for faces in images]


def check_images(count: int) -> None:
    """Raise FaceRefusedError where a person would be enrolled with no image, or too many at once."""
    if not 1 <= count <= MAX_IMAGES:
        raise FaceRefusedError(f"a person is enrolled with 1 to {MAX_IMAGES} images at once, got {count}")


def sample_of(
    pipeline: Pipeline | CascadePipeline, image: ByteArray | None, face: FoundFace, *, keep_crop: bool
) -> Sample:
    """What the gallery keeps of a face: its embedding, and where wanted what the embedder saw as PNG."""
    if not keep_crop:
        return Sample(face.vector)
    assert image is not None, "crops are cut out of it"
    if face.transform is None:
        return Sample(face.vector, encode_png(image))
    assert isinstance(pipeline, CascadePipeline)
    crop = pipeline.manifest.head.crop
    assert isinstance(crop, AlignCrop)
    pixels = warp(image, face.transform.astype(np.float64), size_px=crop.size_px, pad_value=crop.pad_value)
    return Sample(face.vector, encode_png(pixels))


def identified(face: FoundFace, candidates: tuple[Candidate, ...], thresholds: Thresholds) -> IdentifiedFace:
    """A face with who it may be."""
    decision = thresholds.decide(candidates[0].score) if candidates else Decision.different
    landmarks = tuple((float(x), float(y)) for x, y in face.landmarks)
    return IdentifiedFace(face.box, face.score, landmarks, face.quality, decision, candidates)


def stacked(faces: Sequence[FoundFace], dim: int) -> FloatArray:
    """Embeddings of faces: ``(N, D)``, also of none."""
    return np.stack([face.vector for face in faces]) if faces else np.empty((0, dim), np.float32)
