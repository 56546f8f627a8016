"""Detection: decode, suppress, and bring what is left back to the original image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from pipelines.boxes import area, clip
from pipelines.decoders import DECODERS
from pipelines.decoders.candidates import Candidates
from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.mask_nms import mask_nms
from pipelines.masks_prototype import assemble_masks
from pipelines.nms import Indices
from pipelines.options import PredictOptions
from pipelines.rotated_nms import rotated_nms
from pipelines.specs import DetectionHead, MaskNms, Nms, Suppression
from pipelines.suppress import suppress
from pipelines.tasks.pipeline import ImageFront, class_labels, head_of
from pipelines.types import AnyArray, BoolArray, Detections, FloatArray

T = TypeVar("T", int, float)


class DetectionPipeline(ImageFront):
    """Answers the objects of the image, best first; of equal scores the one that the decoder lists first."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, DetectionHead)
        self._decode = DECODERS[self._head.decoder.kind]

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act: ``iou_threshold`` needs an NMS that has one."""
        super().check(options)
        nms = self._head.nms
        if options.iou_threshold is not None and not hasattr(nms, "iou_threshold"):
            has = "no nms" if nms is None else f"nms {nms.kind}"
            raise InvalidRequestError(f"iou_threshold does not apply to {self.manifest.name}: its head has {has}")

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> Detections:
        """Turn raw outputs into detections; raises as ``Pipeline.postprocess``.

        Boxes are clipped to the image and those that lie outside it (in the padding) are dropped before
        ``max_detections`` are counted. Keypoints, polygons and angles are mapped, not clipped. Only the masks of what
        is answered are ever assembled. Boxes that turn are suppressed by the IoU of the turned boxes themselves.
        """
        self.check(options)
        threshold = _first(options.score_threshold, self._head.score_threshold)
        found = self._decode(outputs, self._head.decoder, row_hw=affine.dst_hw, score_threshold=threshold)
        self._check_skeleton(found)
        kept, scores = _suppress(found, self._suppression(options), threshold, affine)
        boxes = _in_image(found.boxes[kept], affine)
        inside = np.flatnonzero(area(boxes) > 0)[: _first(options.max_detections, self._head.max_detections)]
        kept, scores = kept[inside], scores[inside]
        boxes = boxes[inside]
        return Detections(
            boxes=boxes,
            scores=scores,
            class_ids=found.class_ids[kept],
            labels=class_labels(self.manifest.labels, found.class_ids[kept], found.num_classes),
            keypoints=None if found.keypoints is None else _keypoints_to_source(found.keypoints[kept], affine),
            polygons=None
            if found.polygons is None
            else tuple(affine.points_to_source(found.polygons[i]) for i in kept.tolist()),
            masks=_masks(found, kept, boxes, affine),
            angles=None if found.angles is None else _angles_to_source(found.angles[kept], affine),
            skeleton=self._head.skeleton,
        )

    def _check_skeleton(self, found: Candidates) -> None:
        points = 0 if found.keypoints is None else found.keypoints.shape[1]
        highest = max((index for pair in self._head.skeleton for index in pair), default=-1)
        if highest >= points:
            raise ModelOutputError(f"the skeleton joins keypoint {highest}, the model has {points}")

    def _suppression(self, options: PredictOptions) -> Suppression | None:
        """The head's suppression with the request's threshold in its place."""
        nms = self._head.nms
        if nms is None or options.iou_threshold is None:
            return nms
        return nms.model_copy(update={"iou_threshold": options.iou_threshold})


def _first(option: T | None, manifest: T) -> T:
    return manifest if option is None else option


def _in_image(boxes: FloatArray, affine: Affine) -> FloatArray:
    return clip(affine.boxes_to_source(boxes), affine.src_hw)


def _suppress(
    found: Candidates, nms: Suppression | None, score_threshold: float, affine: Affine
) -> tuple[Indices, FloatArray]:
    """Candidates that stay, best first, and their scores."""
    if isinstance(nms, MaskNms):
        return _suppress_by_mask(found, nms, affine)
    if found.angles is None or nms is None:
        return suppress(found.boxes, found.scores, found.class_ids, nms, score_threshold=score_threshold)
    assert isinstance(nms, Nms), "a head whose boxes turn has no other suppression"
    kept = rotated_nms(
        np.reshape(found.polygons or (), (-1, 4, 2)),
        found.scores,
        found.class_ids,
        iou_threshold=nms.iou_threshold,
        class_agnostic=nms.class_agnostic,
        candidates=nms.candidates,
    )
    return kept, found.scores[kept]


def _suppress_by_mask(found: Candidates, nms: MaskNms, affine: Affine) -> tuple[Indices, FloatArray]:
    boxes = _in_image(found.boxes, affine)
    kept = mask_nms(
        boxes,
        found.scores,
        found.class_ids,
        lambda indices: _masks(found, indices, boxes[indices], affine) or (),
        iou_threshold=nms.iou_threshold,
        class_agnostic=nms.class_agnostic,
        candidates=nms.candidates,
    )
    return kept, found.scores[kept]


def _masks(found: Candidates, kept: Indices, boxes: FloatArray, affine: Affine) -> tuple[BoolArray, ...] | None:
    if found.mask_coefficients is None or found.prototypes is None or found.mask_threshold is None:
        return None
    return assemble_masks(
        found.mask_coefficients[kept], found.prototypes, boxes, affine, threshold=found.mask_threshold
    )


def _angles_to_source(angles: FloatArray, affine: Affine) -> FloatArray:
    """Turn ``(N,)`` radians with their edges: a row that is not to scale changes directions; -pi to pi."""
    scale_x, scale_y = affine.scale_xy
    radians = angles.astype(np.float64)
    return np.arctan2(np.sin(radians) / scale_y, np.cos(radians) / scale_x).astype(np.float32)


def _keypoints_to_source(keypoints: FloatArray, affine: Affine) -> FloatArray:
    """Move ``(N, K, 3)`` x, y, score; the score stays."""
    return np.concatenate((affine.points_to_source(keypoints[..., :2]), keypoints[..., 2:]), axis=-1)
