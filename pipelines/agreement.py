"""Whether two results of one image agree within a tolerance; what lies within it of a threshold is left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.boxes import iou_matrix
from pipelines.manifest import ResultTolerance
from pipelines.mask_nms import mask_iou
from pipelines.near_ties import Cuts, is_last, is_near_tie
from pipelines.types import (
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    Result,
    SegmentationMap,
    pixel_windows,
)


@dataclass(frozen=True)
class Agreement:
    """What a comparison found.

    Attributes:
        compared: decoded values that were compared (detections, classes, pixels' classes, vectors).
        excluded: values left out since they lie within tolerance of a threshold or a tie.
        problem: the first difference, or ``None``.
    """

    compared: int
    excluded: int = 0
    problem: str | None = None


def compare_results(expected: Result, got: Result, tolerance: ResultTolerance, cuts: Cuts) -> Agreement:
    """Compare two results of one image; types must be equal."""
    if isinstance(expected, Detections) and isinstance(got, Detections):
        return _compare_detections(expected, got, tolerance, cuts)
    if isinstance(expected, Classification) and isinstance(got, Classification):
        return _compare_classes(expected, got, tolerance, cuts)
    if isinstance(expected, SegmentationMap) and isinstance(got, SegmentationMap):
        return _compare_masks(expected, got, tolerance)
    if isinstance(expected, Embedding) and isinstance(got, Embedding):
        return _compare_vectors(expected, got, tolerance)
    if isinstance(expected, CascadeResult) and isinstance(got, CascadeResult):
        return compare_cascades(expected, got, tolerance, cuts, objects=(tolerance, Cuts()))
    raise TypeError(f"results must be of one type, got {type(expected).__name__} and {type(got).__name__}")


def _compare_classes(
    expected: Classification, got: Classification, tolerance: ResultTolerance, cuts: Cuts
) -> Agreement:
    if cuts.score_threshold is None and len(expected) != len(got):
        return Agreement(0, problem=f"{len(got)} classes, the reference has {len(expected)}")
    reference = dict(zip(expected.class_ids.tolist(), expected.scores.tolist(), strict=True))
    scores = dict(zip(got.class_ids.tolist(), got.scores.tolist(), strict=True))
    shared = reference.keys() & scores.keys()
    for class_id in shared:
        if abs(scores[class_id] - reference[class_id]) > tolerance.score:
            text = f"class {class_id} has score {scores[class_id]:.5f}, the reference {reference[class_id]:.5f}"
            return Agreement(len(reference), problem=text)
    excluded = 0
    for side, other, verb in ((reference, scores, "is not among the best"), (scores, reference, "is new")):
        lost = [(class_id, score) for class_id, score in side.items() if class_id not in shared]
        for class_id, score in lost:
            if not is_last(score, other, len(side), tolerance, cuts):
                return Agreement(len(reference), excluded, f"class {class_id} (score {score:.5f}) {verb}")
        excluded = max(excluded, len(lost))  # a class that tied for the last place went, another came.
    return Agreement(len(shared), excluded)


def _compare_masks(expected: SegmentationMap, got: SegmentationMap, tolerance: ResultTolerance) -> Agreement:
    if expected.class_map.shape != got.class_map.shape:
        text = f"mask is {got.class_map.shape}, the reference {expected.class_map.shape}"
        return Agreement(0, problem=text)
    classes = np.union1d(expected.class_map, got.class_map)
    for class_id in classes.tolist():
        a, b = expected.class_map == class_id, got.class_map == class_id
        iou = np.count_nonzero(a & b) / np.count_nonzero(a | b)
        if iou < tolerance.mask_iou:
            return Agreement(len(classes), problem=f"mask of class {class_id} has IoU {iou:.4f} with the reference")
    if expected.alpha is not None and got.alpha is not None:
        drift = float(np.abs(expected.alpha.astype(np.int16) - got.alpha).mean()) / 255
        if drift > tolerance.score:
            return Agreement(len(classes), problem=f"alpha differs by {drift:.4f} on average")
    return Agreement(len(classes))


def _compare_vectors(expected: Embedding, got: Embedding, tolerance: ResultTolerance) -> Agreement:
    if expected.vector.shape != got.vector.shape:
        return Agreement(0, problem=f"vector is {got.vector.shape}, the reference {expected.vector.shape}")
    a, b = expected.vector.astype(np.float64), got.vector.astype(np.float64)
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(a @ b) / max(lengths[0] * lengths[1], 1e-12)
    if cosine < tolerance.cosine:
        return Agreement(1, problem=f"vector has cosine {cosine:.6f} with the reference")
    if abs(lengths[1] - lengths[0]) > (1 - tolerance.cosine) * max(lengths[0], 1e-12):
        return Agreement(1, problem=f"vector has length {lengths[1]:.6f}, the reference {lengths[0]:.6f}")
    return Agreement(1)


def _compare_detections(expected: Detections, got: Detections, tolerance: ResultTolerance, cuts: Cuts) -> Agreement:
    pairs, lost, extra = match_detections(expected, got, tolerance)
    for i, j in pairs:
        if problem := _pair_problem(expected, got, i, j, tolerance):
            return Agreement(len(pairs), problem=problem)
    excluded = 0
    for side, other, indices, verb in ((expected, got, lost, "is missing"), (got, expected, extra, "is new")):
        for i in indices:
            if not is_near_tie(side, other, i, tolerance, cuts):
                box = " ".join(f"{v:.1f}" for v in side.boxes[i])
                text = f"class {side.class_ids[i]} at ({box}), score {side.scores[i]:.4f}, {verb}"
                return Agreement(len(pairs), excluded, text)
            excluded += 1
    return Agreement(len(pairs), excluded)


def compare_cascades(
    expected: CascadeResult,
    got: CascadeResult,
    tolerance: ResultTolerance,
    cuts: Cuts,
    *,
    objects: tuple[ResultTolerance, Cuts],
) -> Agreement:
    """Compare the detections, then what the second model says of those that both sides have, by ``objects``."""
    found = _compare_detections(expected.detections, got.detections, tolerance, cuts)
    compared, excluded = found.compared, found.excluded
    if found.problem:
        return found
    for i, j in match_detections(expected.detections, got.detections, tolerance)[0]:
        if not np.array_equal(expected.transforms[i], got.transforms[j]) and _differ_in_size(
            expected.objects[i], got.objects[j]
        ):
            excluded += 1  # the box lies at the edge of a pixel, which its crop has on one side and not on the other
            continue
        nested = compare_results(expected.objects[i], got.objects[j], *objects)
        compared, excluded = compared + nested.compared, excluded + nested.excluded
        if nested.problem:
            return Agreement(compared, excluded, f"object {i}: {nested.problem}")
    return Agreement(compared, excluded)


def _differ_in_size(a: Result, b: Result) -> bool:
    """Whether two masks are of crops that differ by at most a pixel on each side."""
    if not isinstance(a, SegmentationMap) or not isinstance(b, SegmentationMap):
        return False
    apart = np.abs(np.subtract(a.class_map.shape, b.class_map.shape))
    return 0 < int(apart.max()) <= 2


def match_detections(
    expected: Detections, got: Detections, tolerance: ResultTolerance
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pair detections of one class by best IoU, best scores first; an IoU below the tolerance is no pair."""
    iou = iou_matrix(expected.boxes, got.boxes)
    iou[expected.class_ids[:, None] != got.class_ids[None, :]] = -1
    free = np.ones(len(got), dtype=bool)
    pairs: list[tuple[int, int]] = []
    lost: list[int] = []
    for i in np.argsort(-expected.scores, kind="stable").tolist():
        candidates = np.where(free, iou[i], -1) if len(got) else np.empty(0)
        j = int(candidates.argmax()) if len(candidates) else -1
        if j >= 0 and candidates[j] >= tolerance.box_iou:
            free[j] = False
            pairs.append((i, j))
        else:
            lost.append(i)
    return pairs, lost, np.flatnonzero(free).tolist()


def _pair_problem(expected: Detections, got: Detections, i: int, j: int, tolerance: ResultTolerance) -> str | None:
    if abs(float(expected.scores[i]) - float(got.scores[j])) > tolerance.score:
        return f"a detection has score {got.scores[j]:.5f}, the reference {expected.scores[i]:.5f}"
    for field in ("keypoints", "polygons", "masks", "angles"):
        if (getattr(expected, field) is None) != (getattr(got, field) is None):
            return f"{field} are on one side only"
    for name, a, b in (
        ("keypoint", _points(expected.keypoints, i), _points(got.keypoints, j)),
        ("outline point", _points(expected.polygons, i), _points(got.polygons, j)),
    ):
        if a.shape != b.shape:
            return f"a detection has {len(b)} {name}s, the reference {len(a)}"
        moved = float(np.abs(a - b).max(initial=0))
        if moved > tolerance.point_px:
            return f"a {name} is {moved:.2f} px away from the reference"
    return (
        _keypoint_score_problem(expected, got, i, j, tolerance)
        or _mask_problem(expected, got, i, j, tolerance)
        or _angle_problem(expected, got, i, j, tolerance)
    )


def _keypoint_score_problem(
    expected: Detections, got: Detections, i: int, j: int, tolerance: ResultTolerance
) -> str | None:
    if expected.keypoints is None or got.keypoints is None:
        return None
    drift = float(np.abs(expected.keypoints[i, :, 2] - got.keypoints[j, :, 2]).max(initial=0))
    return f"a keypoint's score differs by {drift:.5f}" if drift > tolerance.score else None


def _mask_problem(expected: Detections, got: Detections, i: int, j: int, tolerance: ResultTolerance) -> str | None:
    if expected.masks is None or got.masks is None:
        return None
    masks = expected.masks[i], got.masks[j]
    if not any(mask.any() for mask in masks):
        return None
    windows = (pixel_windows(each.boxes[[at]])[0].tolist() for each, at in ((expected, i), (got, j)))
    iou = mask_iou(masks[0], next(windows), masks[1], next(windows))
    return f"a mask has IoU {iou:.4f} with the reference" if iou < tolerance.mask_iou else None


def _angle_problem(expected: Detections, got: Detections, i: int, j: int, tolerance: ResultTolerance) -> str | None:
    """An angle may turn the box's far end by as much as a point may move."""
    if expected.angles is None or got.angles is None or expected.polygons is None:
        return None
    turned = abs((float(got.angles[j]) - float(expected.angles[i]) + np.pi) % (2 * np.pi) - np.pi)
    corners = expected.polygons[i].astype(np.float64)
    radius = float(np.linalg.norm(corners - corners.mean(axis=0), axis=1).max())
    return f"an angle is {turned:.4f} rad away from the reference" if turned * radius > tolerance.point_px else None


def _points(source: FloatArray | tuple[FloatArray, ...] | None, index: int) -> FloatArray:
    return np.empty((0, 2), np.float32) if source is None else source[index][:, :2]
