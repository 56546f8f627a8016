"""Instance masks as weighted sums of prototype maps."""

from __future__ import annotations

import numpy as np

from pipelines.activations import sigmoid
from pipelines.boxes import clip
from pipelines.resample import resize
from pipelines.types import FloatArray


def assemble_masks(
    coefficients: FloatArray, prototypes: FloatArray, boxes_row: FloatArray, row_hw: tuple[int, int]
) -> FloatArray:
    """Join prototypes to one mask an object (YOLACT, arXiv:1904.02689, equation 1).

    Probabilities are ``sigmoid(coefficients @ prototypes)`` at the prototypes' resolution, brought to the row's size by
    bilinear interpolation, and 0 at pixels whose centre lies outside the object's box.

    Args:
        coefficients: ``(N, M)`` float32.
        prototypes: ``(M, mh, mw)`` float32 over the whole row.
        boxes_row: ``(N, 4)`` float32 xyxy, row pixels.
        row_hw: the row's size.

    Returns:
        ``(N, h, w)`` float32 probabilities, ``row_hw`` each.

    Raises:
        ValueError: the three arrays do not belong together.
    """
    if coefficients.shape != (len(boxes_row), len(prototypes)):
        raise ValueError(
            f"coefficients must be one a box and prototype ({len(boxes_row)}, {len(prototypes)}), "
            f"got {coefficients.shape}"
        )
    # A pixel x is inside where x1 <= x + 0.5 < x2: both edges are rounded up once the half is taken away.
    windows = np.ceil(clip(boxes_row, row_hw) - np.float32(0.5)).astype(np.int64)
    masks = np.zeros((len(boxes_row), *row_hw), np.float32)
    for mask, weights, (left, top, right, bottom) in zip(masks, coefficients, windows.tolist(), strict=True):
        if left >= right or top >= bottom:
            continue
        probabilities = sigmoid(np.tensordot(weights, prototypes, axes=1))
        mask[top:bottom, left:right] = resize(probabilities, row_hw, "opencv_linear")[top:bottom, left:right]
    return masks
