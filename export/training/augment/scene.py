"""A training image with everything that lies on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, ByteArray, FloatArray


def no_boxes() -> FloatArray:
    """An empty ``(0, 4)`` array."""
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """An image and its annotations, in continuous pixels (edges at 0 and width).

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        boxes: ``(N, 4)`` float32 xyxy.
        class_ids: ``(N,)`` int64.
        mask: ``(H, W)`` uint8, a class for every pixel, ``outside`` where the image does not reach; or ``None``.
        points: ``(P, 2)`` float32 landmarks x, y, which need not lie inside; or ``None``.
        mirrored: index of the landmark that takes each one's place in a mirror image (the left eye for the right);
            empty: each keeps its own.
    """

    image: ByteArray
    boxes: FloatArray = field(default_factory=no_boxes)
    class_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    mask: AnyArray | None = None
    points: FloatArray | None = None
    mirrored: tuple[int, ...] = ()

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]
