"""Joining the results of overlapping tiles: objects that several tiles saw, pixels that several tiles judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.box_fusion import weighted_box_fusion
from pipelines.boxes import ioa
from pipelines.errors import InvalidRequestError
from pipelines.mask_nms import mask_nms
from pipelines.nms import Indices, best_first, greedy
from pipelines.rotated_nms import rotated_nms
from pipelines.specs import DiouNms, MaskNms, Nms, Suppression
from pipelines.suppress import suppress
from pipelines.types import AnyArray, ByteArray, Detections, FloatArray, pixel_windows

DEFAULT_IOU = 0.5  # of heads that have no threshold of their own, and of ios, where it is SAHI's
DEFAULT_FUSION_IOU = 0.55  # arXiv:1910.13302, section 4

Spans = Sequence[tuple[int, int, int, int]]
"""Left, top, right, bottom of each tile."""


# --- objects ---------------------------------------------------------------------------------------------------------


def shift(found: Detections, corner: tuple[int, int]) -> Detections:
    """Move detections of a tile whose left and top are ``corner`` into the pixels of the image."""
    if corner == (0, 0):
        return found
    offset = np.array(corner, np.float32)
    boxes = found.boxes + np.tile(offset, 2)
    keypoints = None
    if found.keypoints is not None:
        keypoints = np.concatenate((found.keypoints[..., :2] + offset, found.keypoints[..., 2:]), axis=-1)
    return replace(
        found,
        boxes=boxes,
        keypoints=keypoints,
        polygons=None if found.polygons is None else tuple(polygon + offset for polygon in found.polygons),
        masks=None if found.masks is None else _shifted_masks(found, boxes, corner),
    )


def _shifted_masks(found: Detections, boxes: FloatArray, corner: tuple[int, int]) -> tuple[NDArray[np.bool_], ...]:
    """The masks over the windows of the moved boxes.

    A box far from the origin is rounded more coarsely, at times onto the edge of a pixel: its window then has one row
    or column less than the mask, never more.
    """
    assert found.masks is not None, "asked for where there are masks"
    before = pixel_windows(found.boxes) + np.tile(np.array(corner), 2)
    inner = pixel_windows(boxes) - np.tile(before[:, :2], 2)
    return tuple(
        mask[top:bottom, left:right]
        for mask, (left, top, right, bottom) in zip(found.masks, inner.tolist(), strict=True)
    )


def suppress_detections(
    found: Sequence[Detections], nms: Suppression | None, *, by_smaller: bool, threshold: float | None
) -> Detections:
    """Of objects that overlap keep the best, as the head's own suppression compares them.

    Kinds that lower scores drop instead, by IoU: scores were lowered within each tile, and a second time would count
    the same neighbours twice. A head without suppression is suppressed by IoU, class by class. No number of objects is
    cut off before.

    Args:
        found: sets of detections in pixels of the image; of equal scores the one of the earlier set wins.
        nms: of the head.
        by_smaller: compare boxes by their intersection over the smaller one instead.
        threshold: overlap above which the lesser goes; ``None``: the head's own, else 0.5.

    Raises:
        InvalidRequestError: turned boxes are to be compared by the smaller one.
    """
    joined = join(found)
    agnostic = nms is not None and nms.class_agnostic
    if by_smaller:
        if joined.angles is not None:
            raise InvalidRequestError("criterion ios does not apply to boxes that turn")
        order = best_first(joined.scores)
        classes = None if agnostic else joined.class_ids[order]
        return joined[order[greedy(joined.boxes[order], classes, ios, DEFAULT_IOU if threshold is None else threshold)]]
    if threshold is None:
        threshold = getattr(nms, "iou_threshold", DEFAULT_IOU)
    return joined[_kept(joined, nms, threshold, class_agnostic=agnostic)]


def _kept(joined: Detections, nms: Suppression | None, threshold: float, *, class_agnostic: bool) -> Indices:
    """Indices of the objects that stay, best first."""
    candidates = max(1, len(joined))
    if joined.angles is not None:
        return rotated_nms(
            np.reshape(joined.polygons or (), (-1, 4, 2)),
            joined.scores,
            joined.class_ids,
            iou_threshold=threshold,
            class_agnostic=class_agnostic,
            candidates=candidates,
        )
    masks = joined.masks
    if isinstance(nms, MaskNms) and masks is not None:
        return mask_nms(
            joined.boxes,
            joined.scores,
            joined.class_ids,
            lambda indices: [masks[i] for i in indices.tolist()],
            iou_threshold=threshold,
            class_agnostic=class_agnostic,
            candidates=candidates,
        )
    spec: Suppression = (
        DiouNms(kind="diou", iou_threshold=threshold, class_agnostic=class_agnostic, candidates=candidates)
        if isinstance(nms, DiouNms)
        else Nms(kind="hard", iou_threshold=threshold, class_agnostic=class_agnostic, candidates=candidates)
    )
    return suppress(joined.boxes, joined.scores, joined.class_ids, spec, score_threshold=0)[0]


def ios(a: AnyArray, b: AnyArray) -> NDArray[np.float64]:
    """Intersection over the smaller area of corners ``(..., 4)``, broadcast; 0 where either has no area."""
    return np.maximum(ioa(a, b), ioa(b, a))


def check_fusible(found: Detections) -> None:
    """Raise InvalidRequestError where objects are more than boxes: a fused box has no points, outline or mask."""
    more = {"keypoints": found.keypoints, "polygons": found.polygons, "masks": found.masks}
    for name, value in more.items():
        if value is not None:
            raise InvalidRequestError(f"merge fuse does not apply to objects with {name}: a fused box would have none")


def fuse_detections(found: Sequence[Detections], *, labels: tuple[str, ...], threshold: float | None) -> Detections:
    """Make one box of those of a class that overlap, by weighted box fusion; its score is the best of its members'.

    Their mean, the other choice of the paper, asks how many of the sets saw an object, and most tiles cannot see it.
    """
    seen = [each[each.scores > 0] for each in found]  # a weight of 0 has no say
    boxes, scores, class_ids = weighted_box_fusion(
        [each.boxes for each in seen],
        [each.scores for each in seen],
        [each.class_ids for each in seen],
        iou_threshold=DEFAULT_FUSION_IOU if threshold is None else threshold,
        confidence="max",
    )
    return Detections(boxes, scores, class_ids, tuple(labels[i] for i in class_ids.tolist()) if labels else ())


def join(found: Sequence[Detections]) -> Detections:
    """Lay sets of detections of one model one behind the other."""
    first = found[0]
    return Detections(
        boxes=np.concatenate([each.boxes for each in found]),
        scores=np.concatenate([each.scores for each in found]),
        class_ids=np.concatenate([each.class_ids for each in found]),
        labels=tuple(label for each in found for label in each.labels),
        keypoints=None
        if first.keypoints is None
        else np.concatenate([each.keypoints for each in found if each.keypoints is not None]),
        polygons=None if first.polygons is None else tuple(one for each in found for one in each.polygons or ()),
        masks=None if first.masks is None else tuple(mask for each in found for mask in each.masks or ()),
        angles=None
        if first.angles is None
        else np.concatenate([each.angles for each in found if each.angles is not None]),
        skeleton=first.skeleton,
    )


# --- pixels ----------------------------------------------------------------------------------------------------------


def blend(planes: Sequence[ByteArray], windows: Spans, image_hw: tuple[int, int]) -> ByteArray:
    """Weighted mean of overlapping planes ``(h, w)`` uint8: ``(H, W)``, rounded; where one tile is alone, its value.

    A tile's weight falls from its middle to its edges, where its surroundings are cut off, as a raised cosine (Hann's
    window, doi:10.1371/journal.pone.0229839), so no seam shows.
    """
    shares = _Shares(windows)
    total = np.zeros(image_hw, np.float32)
    for plane, window in zip(planes, windows, strict=True):
        left, top, right, bottom = window
        total[top:bottom, left:right] += plane * shares.of(window)
    return np.rint(total).astype(np.uint8)


def vote(class_maps: Sequence[AnyArray], windows: Spans, image_hw: tuple[int, int]) -> AnyArray:
    """Class map ``(H, W)`` of overlapping ones ``(h, w)``: tiles vote with the weights of :func:`blend`.

    Of classes with equal votes the lower one wins. Classes are counted one after the other, so that two planes of votes
    exist at a time, whatever the number of classes.
    """
    shares = _Shares(windows)
    present = [np.unique(class_map).tolist() for class_map in class_maps]
    winner = np.zeros(image_hw, class_maps[0].dtype)
    best = np.zeros(image_hw, np.float32)
    for class_id in sorted({one for classes in present for one in classes}):
        votes = np.zeros(image_hw, np.float32)
        for class_map, window, classes in zip(class_maps, windows, present, strict=True):
            if class_id in classes:
                left, top, right, bottom = window
                votes[top:bottom, left:right] += (class_map == class_id) * shares.of(window)
        wins = votes > best
        winner[wins] = class_id
        best[wins] = votes[wins]
    return winner


class _Shares:
    """Each tile's share in its pixels; the shares in a pixel sum to 1. Tiles are a full grid, so axes are separate."""

    def __init__(self, windows: Spans) -> None:
        self._columns = _axis_shares({(left, right) for left, _, right, _ in windows})
        self._rows = _axis_shares({(top, bottom) for _, top, _, bottom in windows})

    def of(self, window: tuple[int, int, int, int]) -> FloatArray:
        """``(h, w)`` float32."""
        left, top, right, bottom = window
        return np.multiply.outer(self._rows[top, bottom], self._columns[left, right]).astype(np.float32)


def _axis_shares(axis: set[tuple[int, int]]) -> dict[tuple[int, int], NDArray[np.float64]]:
    total = np.zeros(max(end for _, end in axis))
    for start, end in axis:
        total[start:end] += hann(end - start)
    return {(start, end): hann(end - start) / total[start:end] for start, end in axis}


def hann(size: int) -> NDArray[np.float64]:
    """Raised cosine ``(size,)`` at the centres of pixels, above 0 everywhere."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
