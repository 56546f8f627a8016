"""Where an object's crop lies in its image, and its pixels."""

from __future__ import annotations

import math

import numpy as np

from pipelines.errors import ImageTooLargeError, ModelOutputError
from pipelines.faces import align_transform, warp
from pipelines.geometry import MAX_RESIZED_PIXELS
from pipelines.similarity import Matrix, is_degenerate
from pipelines.specs import AlignCrop, BoxCrop, Crop
from pipelines.types import AnyArray, BoolArray, ByteArray, Detections, FloatArray


def can_be_cut(detections: Detections, crop: Crop) -> BoolArray:
    """Whether each of ``N`` objects has a crop: ``(N,)``; with ``align``, landmarks that are a face's.

    Raises ModelOutputError where the detections lack the landmarks that the crop names.
    """
    if isinstance(crop, BoxCrop):
        return np.ones(len(detections), np.bool_)
    return ~is_degenerate(landmarks_of(detections, crop))


def crop_transforms(detections: Detections, crop: Crop) -> Matrix:
    """From image to crop, for each of ``N`` objects that :func:`can_be_cut`: ``(N, 2, 3)`` float64."""
    if isinstance(crop, AlignCrop):
        if not len(detections):
            return np.empty((0, 2, 3))
        return align_transform(landmarks_of(detections, crop), crop.template, crop.size_px)
    corners = [box_window(box, crop)[:2] for box in detections.boxes]
    shifts = -np.reshape(np.array(corners, np.float64), (-1, 2, 1))
    return np.concatenate((np.broadcast_to(np.eye(2), (len(shifts), 2, 2)), shifts), axis=2)


def cut(image: ByteArray, box: FloatArray, transform: Matrix, crop: Crop) -> ByteArray:
    """One object's pixels out of ``(H, W, 3)``: ``(h, w, 3)`` uint8, ``pad_value`` where there is no image.

    Args:
        image: RGB.
        box: ``(4,)`` of the object.
        transform: ``(2, 3)`` of the object, from :func:`crop_transforms`.
        crop: how.

    Raises:
        ImageTooLargeError: the crop would be larger than both the image and ``MAX_RESIZED_PIXELS``, or as ``warp``.
    """
    if isinstance(crop, AlignCrop):
        return warp(image, transform, size_px=crop.size_px, pad_value=crop.pad_value)
    return cut_window(image, box_window(box, crop), pad_value=crop.pad_value)


def box_window(box: FloatArray, crop: BoxCrop) -> tuple[int, int, int, int]:
    """The whole pixels of a box's crop: left, top, right, bottom, the last two exclusive; never empty.

    The grown box's left and top are rounded down, right and bottom up. A square's side is the longer side rounded up,
    its corner the nearest that keeps the box's centre (halves up).
    """
    left, top, right, bottom = (float(value) for value in box)
    width, height = right - left, bottom - top
    left, right = left - crop.margin * width, right + crop.margin * width
    top, bottom = top - crop.margin * height, bottom + crop.margin * height
    if crop.square:
        side = max(1, math.ceil(max(right - left, bottom - top)))
        x, y = (math.floor((low + high - side) / 2 + 0.5) for low, high in ((left, right), (top, bottom)))
        return x, y, x + side, y + side
    x, y = math.floor(left), math.floor(top)
    return x, y, max(x + 1, math.ceil(right)), max(y + 1, math.ceil(bottom))


def cut_window(image: ByteArray, window: tuple[int, int, int, int], *, pad_value: int) -> ByteArray:
    """The pixels of a window ``left, top, right, bottom`` that may reach out of ``(H, W, 3)``; else a view of it.

    Raises ImageTooLargeError as :func:`cut`: a thin box of a long image can ask for a square that no memory holds.
    """
    left, top, right, bottom = window
    height, width = image.shape[:2]
    pixels = (right - left) * (bottom - top)
    if pixels > max(height * width, MAX_RESIZED_PIXELS):
        raise ImageTooLargeError(
            f"a crop of {right - left:,} x {bottom - top:,} = {pixels:,} pixels is above the limit of "
            f"{MAX_RESIZED_PIXELS:,}"
        )
    inner = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if inner.shape[:2] == (bottom - top, right - left):
        return inner
    padded = np.full((bottom - top, right - left, image.shape[2]), pad_value, np.uint8)
    x, y = max(0, -left), max(0, -top)
    padded[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return padded


def landmarks_of(detections: Detections, crop: AlignCrop) -> AnyArray:
    """The landmarks that a crop names of each object: ``(N, P, 2)`` x, y; raises ModelOutputError without them."""
    points = 0 if detections.keypoints is None else detections.keypoints.shape[1]
    if detections.keypoints is None or max(crop.landmarks) >= points:
        raise ModelOutputError(f"crop.landmarks names keypoint {max(crop.landmarks)}, the detector answers {points}")
    return detections.keypoints[:, list(crop.landmarks), :2]
