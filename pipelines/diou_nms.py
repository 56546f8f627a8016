"""Non-maximum suppression by distance IoU: neighbours whose centres lie apart are spared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.boxes import diou
from pipelines.nms import Indices, best_first, greedy
from pipelines.types import FloatArray


def diou_nms(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    *,
    iou_threshold: float,
    class_agnostic: bool,
    candidates: int,
) -> Indices:
    """Suppress each box whose distance IoU with a better kept box is above ``iou_threshold``.

    As ``nms.batched_nms``, but overlap is IoU less the penalty for centres that lie apart (arXiv:1911.08287, section
    "Non-Maximum Suppression using DIoU").

    Args:
        boxes: ``(N, 4)`` float32 xyxy.
        scores: ``(N,)`` float32, no NaN.
        class_ids: ``(N,)`` int64.
        iou_threshold: 0 to 1.
        class_agnostic: let classes suppress each other.
        candidates: how many of the best boxes, over all classes, enter.

    Returns:
        Kept indices, best first, ties by lower index.
    """
    order = best_first(scores, candidates)
    return order[greedy(boxes[order], None if class_agnostic else class_ids[order], diou, iou_threshold)]
