"""A mask brought to where its image lies in the model's row."""

from __future__ import annotations

import cv2
import numpy as np

from export.data.dataset import IGNORED
from pipelines.geometry import Affine
from pipelines.types import AnyArray


def mask_to_row(mask: AnyArray, affine: Affine) -> AnyArray:
    """Class ids ``(h, w)`` uint8 of a row for those ``(H, W)`` of its image; ``IGNORED`` where the row shows none.

    Each pixel takes the class of the nearest one of the image, by their centres: classes cannot be mixed.
    """
    height, width = affine.resized_hw
    resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    row = np.full(affine.dst_hw, IGNORED, np.uint8)
    top, left = affine.corner_yx
    part = resized[max(-top, 0) : affine.dst_hw[0] - top, max(-left, 0) : affine.dst_hw[1] - left]
    top, left = max(top, 0), max(left, 0)
    row[top : top + part.shape[0], left : left + part.shape[1]] = part
    return row
