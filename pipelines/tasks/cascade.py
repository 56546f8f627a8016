"""Cascade: the objects that a detector finds, each cut out and answered by a second model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.batches import run_rows
from pipelines.crops import can_be_cut, crop_transforms, cut, landmarks_of
from pipelines.errors import ManifestError
from pipelines.geometry import Affine
from pipelines.image import ImageLimits, decode_image
from pipelines.manifest import CascadeManifest
from pipelines.options import PredictOptions
from pipelines.quality import measure_face
from pipelines.specs import AlignCrop, DetectionHead, EmbeddingHead
from pipelines.tasks.pipeline import Pipeline, predict_one
from pipelines.types import (
    AnyArray,
    ByteArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    FaceQuality,
    FloatArray,
    SegmentationMap,
)

if TYPE_CHECKING:
    from pipelines.session import Session


@dataclass(frozen=True)
class CascadeSessions:
    """The graphs of a cascade's two members."""

    detector: Session
    second: Session


@dataclass(frozen=True, eq=False)
class Crops:
    """What an image's objects are for the second model.

    Attributes:
        detections: ``N`` objects that go on.
        transforms: ``(N, 2, 3)`` float32, from image to crop.
        rows: the second model's rows, without batch axis.
        affines: from each crop to its row.
        qualities: what each picture is like, where the objects are faces to embed.
    """

    detections: Detections
    transforms: FloatArray
    rows: tuple[AnyArray, ...]
    affines: tuple[Affine, ...]
    qualities: tuple[FaceQuality, ...] | None = None


class CascadePipeline:
    """Everything around a cascade's two graphs; holds no state beside its manifests, so any thread may call it.

    Attributes:
        manifest: of the cascade.
        detector: pipeline of the first member.
        second: pipeline of the second.
    """

    def __init__(self, manifest: CascadeManifest, detector: Pipeline, second: Pipeline) -> None:
        """Raise ManifestError where the two members cannot be joined so."""
        self.manifest, self.detector, self.second = manifest, detector, second
        _check_members(manifest, detector, second)

    @property
    def has_masks(self) -> bool:
        """Whether results hold masks, of either model."""
        return self.detector.has_masks or self.second.has_masks

    @property
    def embeds_faces(self) -> bool:
        """Whether what is found is aligned by landmarks and embedded; such answers tell each picture's quality."""
        return isinstance(self.manifest.head.crop, AlignCrop) and isinstance(self.second.manifest.head, EmbeddingHead)

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option acts on neither model: ``top_k`` is the second's."""
        options.check_for("cascade")
        self.detector.check(self.detector_options(options))
        self.second.check(self.second_options(options))

    def detector_options(self, options: PredictOptions) -> PredictOptions:
        """The part of a request's options that acts on the detector."""
        return replace(options, top_k=None)

    def second_options(self, options: PredictOptions) -> PredictOptions:
        """The part of a request's options that acts on the second model."""
        return PredictOptions(top_k=options.top_k)

    def decode(self, data: bytes, limits: ImageLimits) -> ByteArray:
        """Decode an encoded image to ``(H, W, 3)`` uint8 RGB. Raises ImageDecodeError, ImageTooLargeError."""
        spec = self.manifest.image
        return decode_image(data, exif=spec.exif, alpha=spec.alpha, limits=limits)

    def choose(self, detections: Detections) -> Detections:
        """The objects that go on: of the wanted classes, large enough, with a crop; the best ``max_objects``."""
        head = self.manifest.head
        wanted = can_be_cut(detections, head.crop)
        if head.classes is not None:
            wanted &= np.isin(detections.class_ids, head.classes)
        sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
        wanted &= sides.min(axis=1, initial=np.inf) >= head.min_size_px
        return detections[np.flatnonzero(wanted)[: head.max_objects]]

    def prepare(self, image: ByteArray, detections: Detections) -> Crops:
        """Choose among an image's detections, and make a row of the second model of each object that goes on.

        Crops are made and forgotten one by one: what is kept of an object is its row.

        Raises:
            ImageTooLargeError: a crop, or its row, would be too large.
            ModelOutputError: the crop wants landmarks that the detector does not answer.
        """
        chosen = self.choose(detections)
        crop = self.manifest.head.crop
        transforms = crop_transforms(chosen, crop)
        prepared, qualities = [], []
        for i, (box, transform) in enumerate(zip(chosen.boxes, transforms, strict=True)):
            pixels = cut(image, box, transform, crop)
            prepared.append(self.second.preprocess(pixels))
            if isinstance(crop, AlignCrop) and self.embeds_faces:
                qualities.append(measure_face(pixels, box, landmarks_of(chosen, crop)[i]))
        rows, affines = tuple(row for row, _ in prepared), tuple(affine for _, affine in prepared)
        told = tuple(qualities) if self.embeds_faces else None
        return Crops(chosen, transforms.astype(np.float32), rows, affines, told)

    def join(self, crops: Crops, outputs: Sequence[Mapping[str, AnyArray]], options: PredictOptions) -> CascadeResult:
        """Nest the second model's answers (raw outputs, one mapping a row of ``crops``) under their objects.

        Raises as ``Pipeline.postprocess``.
        """
        second = self.second_options(options)
        objects = []
        for output, affine in zip(outputs, crops.affines, strict=True):
            result = self.second.postprocess(output, affine, second)
            assert isinstance(result, Classification | SegmentationMap | Embedding), "checked when it was built"
            objects.append(result)
        return CascadeResult(crops.detections, tuple(objects), crops.transforms, crops.qualities)


def predict_cascade(
    pipeline: CascadePipeline, sessions: CascadeSessions, images: Sequence[ByteArray], options: PredictOptions
) -> list[CascadeResult]:
    """Detect in each image on its own, then run the objects of all of them through the second model together."""
    first = pipeline.detector_options(options)
    prepared = []
    for image in images:
        detections = predict_one(pipeline.detector, sessions.detector, image, first)
        assert isinstance(detections, Detections), "checked when it was built"
        prepared.append(pipeline.prepare(image, detections))
    outputs = iter(run_rows(sessions.second, [row for crops in prepared for row in crops.rows]))
    return [pipeline.join(crops, [next(outputs) for _ in crops.rows], options) for crops in prepared]


def _check_members(manifest: CascadeManifest, detector: Pipeline, second: Pipeline) -> None:
    head, found = manifest.head, detector.manifest
    if not isinstance(found.head, DetectionHead):
        raise ManifestError(f"{manifest.name}: the detector's task must be detection, it is {found.head.task}")
    if isinstance(second.manifest.head, DetectionHead):
        raise ManifestError(
            f"{manifest.name}: the second model's task must be classification, embedding or segmentation, "
            "it is detection"
        )
    if (found.image.exif, found.image.alpha) != (manifest.image.exif, manifest.image.alpha):
        raise ManifestError(
            f"{manifest.name}: image must be the detector's, exif {found.image.exif} and alpha {found.image.alpha}, "
            f"it is {manifest.image.exif} and {manifest.image.alpha}"
        )
    beyond = [class_id for class_id in head.classes or () if found.labels and class_id >= len(found.labels)]
    if beyond:
        raise ManifestError(f"{manifest.name}: head.classes names class {beyond[0]}, there are {len(found.labels)}")
