"""Proving a reading on an image: what it finds, whether that is plausible, whether it moves with the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING
from pipelines.boxes import iou_matrix
from pipelines.decoders import DECODERS
from pipelines.manifest import ModelManifest
from pipelines.present import summary
from pipelines.session import Session, run_one
from pipelines.specs import DetectionHead
from pipelines.tasks import build_pipeline, predict
from pipelines.types import (
    ByteArray,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    ModelResult,
    SegmentationMap,
)

SHRINK = 0.75
_GRAY = 114
_LOW_SCORE = 0.05
_COMPARED = 100  # objects a view: agreement is quadratic in them.
_AGREES, _DISAGREES = 0.7, 0.3
_FEW = 3  # below so many objects, disagreement shows nothing.


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """What one reading made of one image.

    Attributes:
        result: at the head's own thresholds.
        found: objects, classes or pixels in words.
        plausible: part of the candidates at a low score whose centre lies inside the row and whose sides are sane;
            ``None`` where there are none, or the task has none.
        flip: agreement about the mirrored image, 0 to 1, or ``None`` where nothing was found.
        shrink: agreement about the image at three quarters of its size, on gray, or ``None``.
        points: what that counts.
    """

    result: ModelResult
    found: str
    plausible: float | None
    flip: float | None
    shrink: float | None
    points: int

    @property
    def convinces(self) -> bool:
        """Whether objects were found that move with the image in both tests."""
        return min(self.flip or 0.0, self.shrink or 0.0) >= _AGREES

    def __str__(self) -> str:
        parts = [self.found]
        if self.plausible is not None:
            parts.append(f"{self.plausible:.0%} of the candidates plausible")
        for name, value in (("mirrored", self.flip), ("shrunk", self.shrink)):
            if value is not None:
                parts.append(f"{value:.0%} agreement {name}")
        return ", ".join(parts)


def prove(manifest: ModelManifest, session: Session, image: ByteArray) -> Proof:
    """Run a reading on an image, its mirror image and a smaller one; raises what the pipeline raises."""
    pipeline = build_pipeline(manifest)

    def answer(view: ByteArray) -> ModelResult:
        return predict(pipeline, session, [view])[0]

    result = answer(image)
    flip = _agreement(result, answer(np.ascontiguousarray(image[:, ::-1])), _mirror(image.shape[1]))
    small, back = _shrunk(image)
    shrink = _agreement(result, answer(small), back) if isinstance(result, Detections) else None
    plausible = _plausible(manifest, session, image)
    return Proof(
        result=result,
        found=summary(result),
        plausible=plausible,
        flip=flip,
        shrink=shrink,
        points=_points(result, plausible, flip, shrink),
    )


def _points(result: ModelResult, plausible: float | None, flip: float | None, shrink: float | None) -> int:
    points = 0
    if plausible is not None:
        points += SLIGHT if plausible > 0.9 else -DISTINCTIVE if plausible < 0.5 else 0
    enough = not isinstance(result, Detections) or len(result) >= _FEW
    for agreement in (flip, shrink):
        if agreement is not None:
            points += TELLING if agreement >= _AGREES else -SLIGHT if agreement < _DISAGREES and enough else 0
    return points if isinstance(result, Detections) else max(points, 0)


# --- plausibility -----------------------------------------------------------------------------------------------------


def _plausible(manifest: ModelManifest, session: Session, image: ByteArray) -> float | None:
    """Part of the raw candidates that could be objects: before clipping, which would hide the others."""
    head = manifest.head
    if not isinstance(head, DetectionHead):
        return None
    row, affine = build_pipeline(manifest).preprocess(image)
    outputs = run_one(session, row)
    decode = DECODERS[head.decoder.kind]
    found = decode(outputs, head.decoder, row_hw=affine.dst_hw, score_threshold=min(_LOW_SCORE, head.score_threshold))
    if not len(found):
        return None
    height, width = affine.dst_hw
    centers = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    inside = ((centers >= 0) & (centers <= (width, height))).all(axis=1)
    # Two pixels: nothing smaller can be told from its surroundings. Half as large again: a box may leave its row.
    sane = ((sides >= 2) & (sides <= np.multiply((width, height), 1.5))).all(axis=1)
    return float((inside & sane).mean())


# --- moving the image -------------------------------------------------------------------------------------------------


def _mirror(width: int) -> Callable[[FloatArray], FloatArray]:
    """Points ``(..., 2)`` of the mirrored image back to the image."""
    return lambda points: np.stack((width - points[..., 0], points[..., 1]), axis=-1).astype(np.float32)


def _shrunk(image: ByteArray) -> tuple[ByteArray, Callable[[FloatArray], FloatArray]]:
    """The image at three quarters of its size in the top left of a gray one, and the way back of its points."""
    height, width = (max(int(side * SHRINK), 1) for side in image.shape[:2])
    small = np.full_like(image, _GRAY)
    small[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    scale = np.array((image.shape[1] / width, image.shape[0] / height), np.float32)
    return small, lambda points: (points * scale).astype(np.float32)


def _agreement(result: ModelResult, moved: ModelResult, back: Callable[[FloatArray], FloatArray]) -> float | None:
    """How far two answers say the same, 0 to 1; for detections ``None`` where neither found anything."""
    match result, moved:
        case Detections(), Detections():
            return _same_objects(result[:_COMPARED], moved[:_COMPARED], back)
        case SegmentationMap(), SegmentationMap():
            mirrored = moved.class_map[:, ::-1]
            foreground = (result.class_map > 0) | (mirrored > 0)
            same = (result.class_map == mirrored) & foreground
            return float(same.sum() / foreground.sum()) if foreground.any() else None
        case Classification(), Classification():
            if not len(result.class_ids) or not len(moved.class_ids):
                return None
            return float(result.class_ids[0] == moved.class_ids[0])
        case Embedding(), Embedding():
            norms = np.linalg.norm(result.vector) * np.linalg.norm(moved.vector)
            return max(float(result.vector @ moved.vector / norms), 0.0) if norms else None
    return None


def _same_objects(result: Detections, moved: Detections, back: Callable[[FloatArray], FloatArray]) -> float | None:
    """Mean of the best IoU of each object with one of the other answer; times how near their keypoints are."""
    if not len(result) and not len(moved):
        return None
    if not len(result) or not len(moved):
        return 0.0
    corners = back(moved.boxes.reshape(-1, 2, 2))  # (M, 2, 2)
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    overlaps = iou_matrix(result.boxes, boxes)
    overlaps *= result.class_ids[:, None] == moved.class_ids[None, :]
    agreement = float((overlaps.max(axis=1).mean() + overlaps.max(axis=0).mean()) / 2)
    if result.keypoints is None or moved.keypoints is None:
        return agreement
    partner = overlaps.argmax(axis=1)
    there = back(moved.keypoints[partner][..., :2])
    # Left and right change places in a mirror: each point is compared with the nearest one.
    gaps = np.linalg.norm(result.keypoints[:, :, None, :2] - there[:, None], axis=-1).min(axis=2)  # (N, K)
    sides = np.sqrt(np.prod(result.boxes[:, 2:] - result.boxes[:, :2], axis=1))
    near = np.clip(1 - 4 * gaps.mean(axis=1) / np.maximum(sides, 1), 0, 1)
    return agreement * float(near[overlaps.max(axis=1) > 0].mean() if (overlaps > 0).any() else 0)
