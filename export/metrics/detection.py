"""Metrics of detection: average precision as COCO defines it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.data.dataset import BoxesTarget
from pipelines.errors import MissingExtraError
from pipelines.types import AnyArray, FloatArray

IOU_50, IOU_75 = 0, 5  # of COCO's ten IoU thresholds 0.50, 0.55 ... 0.95
ALL_SIZES = 0
SIZES = ("all", "small", "medium", "large")  # below 32², up to 96², above: pixels of the original image
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """What was found on one image.

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy in pixels of the original image.
        scores: ``(N,)`` float32.
        class_ids: ``(N,)`` int64, in the numbering of the truth.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionReport:
    """How the objects of ``C`` classes were found; NaN where there is no object to find.

    Attributes:
        ap: by size of the object (``SIZES``): mean over IoU 0.50:0.05:0.95 and the classes.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
        recall: largest recall at ``max_detections``, mean over IoU 0.50:0.05:0.95 and the classes.
        class_ap: ``(C,)`` float64.
        class_ap50: ``(C,)`` float64.
        precision: ``(C, 101)`` float64 at IoU 0.50 and ``RECALLS``: the precision at that recall or above.
        scores: ``(C, 101)`` float64: the score threshold that gives that recall.
        num_boxes: ``(C,)`` int64 objects, crowds not counted.
        max_detections: of an image and class that were looked at.
    """

    ap: dict[str, float]
    ap50: float
    ap75: float
    recall: float
    class_ap: NDArray[np.float64]
    class_ap50: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    num_boxes: NDArray[np.int64]
    max_detections: int

    def best_f1(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest F1 on each class's curve, and the score threshold that gives it; both ``(C,)``."""
        f1 = 2 * self.precision * RECALLS / np.maximum(self.precision + RECALLS, 1e-12)
        best = np.argmax(np.nan_to_num(f1, nan=-1), axis=1)
        rows = np.arange(len(f1))
        return f1[rows, best], self.scores[rows, best]

    def headline(self) -> dict[str, float]:
        """The metrics by name; those without an object to find are left out."""
        found = {"ap": self.ap["all"], "ap50": self.ap50, "ap75": self.ap75, "recall": self.recall}
        found |= {f"ap_{size}": self.ap[size] for size in SIZES[1:]}
        return {name: value for name, value in found.items() if np.isfinite(value)}


def detection_report(
    truths: Sequence[BoxesTarget], found: Sequence[FoundBoxes], num_classes: int, *, max_detections: int = 100
) -> DetectionReport:
    """Match what was found to the truth, as the COCO challenge does.

    Args:
        truths: of each image; crowds are neither to be found nor wrong to find.
        found: of each image, in the same order.
        num_classes: C.
        max_detections: best of each image and class that count; COCO's own value is 100.

    Raises:
        MissingExtraError: pycocotools is not installed.
        ValueError: the numbers of images differ.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingExtraError("install 'ocella[export]' to measure average precision (pycocotools)") from error
    if len(truths) != len(found):
        raise ValueError(f"there must be one result an image, got {len(found)} for {len(truths)}")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        judge = COCOeval(
            _coco(COCO, _true_rows(truths), len(truths), num_classes),
            _coco(COCO, _found_rows(found), len(truths), num_classes),
            "bbox",
        )
        judge.params.maxDets = [max_detections]
        judge.evaluate()
        judge.accumulate()
    # (10 IoUs, 101 recalls, C, 4 sizes, 3 limits); -1 where there is no object to find
    precision, scores = (_unknown(judge.eval[name][..., -1]) for name in ("precision", "scores"))
    recall = _unknown(judge.eval["recall"][..., -1])
    return DetectionReport(
        ap={size: _mean(precision[..., i]) for i, size in enumerate(SIZES)},
        ap50=_mean(precision[IOU_50, ..., ALL_SIZES]),
        ap75=_mean(precision[IOU_75, ..., ALL_SIZES]),
        recall=_mean(recall[..., ALL_SIZES]),
        class_ap=np.array([_mean(precision[:, :, k, ALL_SIZES]) for k in range(num_classes)]),
        class_ap50=np.array([_mean(precision[IOU_50, :, k, ALL_SIZES]) for k in range(num_classes)]),
        precision=precision[IOU_50, :, :, ALL_SIZES].T,
        scores=scores[IOU_50, :, :, ALL_SIZES].T,
        num_boxes=sum(
            (np.bincount(truth.class_ids[~truth.crowd], minlength=num_classes) for truth in truths),
            np.zeros(num_classes, np.int64),
        ),
        max_detections=max_detections,
    )


def _coco(kind: Any, rows: Iterable[dict[str, Any]], num_images: int, num_classes: int) -> Any:
    """The rows as pycocotools' own index; ids count from 1, since it takes 0 for "no match"."""
    index = kind()
    index.dataset = {
        "images": [{"id": image} for image in range(num_images)],
        "categories": [{"id": class_id} for class_id in range(num_classes)],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
    }
    index.createIndex()
    return index


def _true_rows(truths: Sequence[BoxesTarget]) -> Iterable[dict[str, Any]]:
    for image, truth in enumerate(truths):
        sides = zip(_xywh(truth.boxes), truth.class_ids, truth.crowd, truth.areas, strict=True)
        for box, class_id, crowd, area in sides:
            row = {"image_id": image, "category_id": int(class_id), "bbox": box}
            yield row | {"iscrowd": int(crowd), "area": float(area)}


def _found_rows(found: Sequence[FoundBoxes]) -> Iterable[dict[str, Any]]:
    for image, result in enumerate(found):
        for box, class_id, score in zip(_xywh(result.boxes), result.class_ids, result.scores, strict=True):
            row = {"image_id": image, "category_id": int(class_id), "bbox": box, "score": float(score)}
            yield row | {"area": box[2] * box[3], "iscrowd": 0}


def _xywh(boxes: FloatArray) -> list[list[float]]:
    corners = boxes.astype(np.float64)
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).tolist()


def _unknown(values: AnyArray) -> AnyArray:
    return np.where(values < 0, np.nan, values)


def _mean(values: AnyArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
