"""Moving a scene by one affine matrix: pixels, boxes, mask and landmarks all follow it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from export.training.augment.scene import Scene
from pipelines.boxes import area, clip
from pipelines.types import FloatArray

Matrix = NDArray[np.float64]
OUTSIDE = 255  # of a mask: the class that is not counted.
_SHRINKS = 0.5  # below this scale linear interpolation skips pixels, so the image is blurred first.


def identity() -> Matrix:
    """The ``(3, 3)`` matrix that moves nothing."""
    return np.eye(3)


def shifted(x: float, y: float) -> Matrix:
    """Move by x and y pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaled(x: float, y: float) -> Matrix:
    """Scale about the top left corner; a negative factor mirrors."""
    return np.diag([x, y, 1.0])


def turned(degrees: float) -> Matrix:
    """Turn about the top left corner, from x towards y (clockwise as seen). Quarter turns are exact."""
    quarters, rest = divmod(degrees, 90)
    if rest == 0:
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarters) % 4]
    else:
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float64)


def about(matrix: Matrix, x: float, y: float) -> Matrix:
    """The same move about the point x, y instead of the top left corner."""
    return shifted(x, y) @ matrix @ shifted(-x, -y)


def warp(scene: Scene, matrix: Matrix, out_hw: tuple[int, int], *, fill: int, min_visible: float) -> Scene:
    """Move a scene into a picture of ``out_hw``.

    Args:
        scene: what is moved.
        matrix: ``(3, 3)`` affine, from continuous pixels of the scene to those of the picture.
        out_hw: size of the picture.
        fill: level of pixels that come from outside the image; a mask is ``OUTSIDE`` there.
        min_visible: a box goes when less than this share of its moved area is left in the picture, and when it is
            narrower than a pixel.

    Returns:
        The moved scene. A box that was turned becomes the bounds of its corners.
    """
    # Continuous pixel edges lie half a pixel from the centres that OpenCV counts from.
    sampling = shifted(-0.5, -0.5) @ matrix @ shifted(0.5, 0.5)
    size_wh = (out_hw[1], out_hw[0])
    image = cv2.warpAffine(
        _blurred(scene, matrix), sampling[:2], size_wh, flags=cv2.INTER_LINEAR, borderValue=(fill, fill, fill)
    )
    mask = scene.mask
    if mask is not None:
        mask = cv2.warpAffine(mask, sampling[:2], size_wh, flags=cv2.INTER_NEAREST, borderValue=OUTSIDE)
    moved = move_boxes(scene.boxes, matrix)
    kept, boxes = visible(moved, out_hw, min_visible=min_visible)
    points = scene.points
    if points is not None:
        points = move_points(points, matrix)
        if np.linalg.det(matrix) < 0 and scene.mirrored:
            points = points[list(scene.mirrored)]
    return replace(
        scene,
        image=np.ascontiguousarray(image),
        boxes=boxes,
        class_ids=scene.class_ids[kept],
        mask=mask,
        points=points,
    )


def _blurred(scene: Scene, matrix: Matrix) -> NDArray[np.uint8]:
    """Take away what a much smaller picture cannot show; without it, it shows noise instead."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    if scale >= _SHRINKS:
        return scene.image
    return np.asarray(cv2.GaussianBlur(scene.image, (0, 0), 0.4 / scale), np.uint8)


def move_points(points: FloatArray, matrix: Matrix) -> FloatArray:
    """Move ``(P, 2)`` x, y."""
    moved = points.astype(np.float64) @ matrix[:2, :2].T + matrix[:2, 2]
    return moved.astype(np.float32)


def move_boxes(boxes: FloatArray, matrix: Matrix) -> FloatArray:
    """Bounds ``(N, 4)`` of the moved corners."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = move_points(corners, matrix).reshape(-1, 4, 2)
    return np.concatenate((moved.min(axis=1), moved.max(axis=1)), axis=1) if len(boxes) else boxes


def visible(boxes: FloatArray, hw: tuple[int, int], *, min_visible: float) -> tuple[NDArray[np.intp], FloatArray]:
    """Indices of the boxes of which enough is inside a picture of ``hw``, and those boxes clipped to it."""
    inside = clip(boxes, hw)
    sides = inside[:, 2:] - inside[:, :2]
    kept = np.flatnonzero((area(inside) >= min_visible * area(boxes)) & (sides >= 1).all(axis=1))
    return kept, inside[kept]
