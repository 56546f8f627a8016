"""Detection: decode, suppress, and bring what is left back to the original image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import area, clip
from pipelines.decoders import DECODERS, Candidates
from pipelines.errors import InvalidRequestError
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.nms import batched_nms, best_first
from pipelines.options import PredictOptions
from pipelines.specs import DetectionHead
from pipelines.tasks.pipeline import ImageFront, class_labels, head_of
from pipelines.types import AnyArray, Detections, FloatArray

T = TypeVar("T", int, float)


class DetectionPipeline(ImageFront):
    """Answers the objects of the image, best first; of equal scores the one that the decoder lists first."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, DetectionHead)
        self._decode = DECODERS[self._head.decoder.kind]

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act: ``iou_threshold`` needs a model with NMS."""
        super().check(options)
        if options.iou_threshold is not None and self._head.nms is None:
            raise InvalidRequestError(f"iou_threshold does not apply to {self.manifest.name}: its head has no nms")

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> Detections:
        """Turn raw outputs into detections; raises as ``Pipeline.postprocess``.

        Boxes are clipped to the image and those that lie outside it (in the padding) are dropped before
        ``max_detections`` are counted. Keypoints and polygons are mapped, not clipped.
        """
        self.check(options)
        threshold = _first(options.score_threshold, self._head.score_threshold)
        found = self._decode(outputs, self._head.decoder, row_hw=affine.dst_hw, score_threshold=threshold)
        kept = self._suppress(found, options)
        boxes = clip(affine.boxes_to_source(found.boxes[kept]), affine.src_hw)
        inside = np.flatnonzero(area(boxes) > 0)[: _first(options.max_detections, self._head.max_detections)]
        kept = kept[inside]
        return Detections(
            boxes=boxes[inside],
            scores=found.scores[kept],
            class_ids=found.class_ids[kept],
            labels=class_labels(self.manifest.labels, found.class_ids[kept], found.num_classes),
            keypoints=None if found.keypoints is None else _keypoints_to_source(found.keypoints[kept], affine),
            polygons=None
            if found.polygons is None
            else tuple(affine.points_to_source(found.polygons[i]) for i in kept.tolist()),
        )

    def _suppress(self, found: Candidates, options: PredictOptions) -> NDArray[np.int64]:
        """Indices of the candidates that stay, best first."""
        nms = self._head.nms
        if nms is None:
            return best_first(found.scores)
        return batched_nms(
            found.boxes,
            found.scores,
            found.class_ids,
            iou_threshold=_first(options.iou_threshold, nms.iou_threshold),
            class_agnostic=nms.class_agnostic,
            candidates=nms.candidates,
        )


def _first(option: T | None, manifest: T) -> T:
    return manifest if option is None else option


def _keypoints_to_source(keypoints: FloatArray, affine: Affine) -> FloatArray:
    """Move ``(N, K, 3)`` x, y, score; the score stays."""
    return np.concatenate((affine.points_to_source(keypoints[..., :2]), keypoints[..., 2:]), axis=-1)
