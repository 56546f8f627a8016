"""Measuring a detector, or the results that one has left in a file."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from export.data.dataset import BoxesTarget, Dataset, Sample
from export.evaluate import curves
from export.evaluate.labels import match_labels
from export.evaluate.measured import Measured, Table, Worst
from export.evaluate.predictor import Settings
from export.metrics.detection import FoundBoxes, detection_report
from pipelines.boxes import iou_matrix
from pipelines.manifest import ModelManifest
from pipelines.specs import DetectionHead
from pipelines.types import Detections, FloatArray, Result

MATCH_IOU = 0.5


class DetectionJudge:
    """Compares boxes with COCO's rules; pictures show what is above the model's own threshold."""

    def __init__(self, dataset: Dataset, manifest: ModelManifest | None, settings: Settings) -> None:
        """Without a manifest the boxes are in the data set's numbering already, and 0.5 is the threshold shown."""
        self._labels, self._settings = dataset.labels, settings
        self._map = match_labels(dataset, manifest.labels) if manifest else None
        head = manifest.head if manifest else None
        self._shown = head.score_threshold if isinstance(head, DetectionHead) else 0.5

    def judge(self, sample: Sample, result: Result) -> FoundBoxes:
        """Keep the boxes of classes that the data set has."""
        assert isinstance(result, Detections)
        assert self._map is not None
        class_ids = self._map(result.class_ids)
        known = class_ids < len(self._labels)
        return FoundBoxes(result.boxes[known], result.scores[known], class_ids[known])

    def measure(self, samples: tuple[Sample, ...], rows: tuple[FoundBoxes, ...]) -> Measured:
        """Join the boxes of all images."""
        limit = self._settings.max_detections
        truths = [_target(sample) for sample in samples]
        report = detection_report(truths, rows, len(self._labels), max_detections=limit)
        f1, thresholds = report.best_f1()
        columns = ("class", "objects", "ap", "ap50", "best_f1", "at_score")
        per_class = zip(
            self._labels,
            report.num_boxes.tolist(),
            report.class_ap.tolist(),
            report.class_ap50.tolist(),
            f1.tolist(),
            thresholds.tolist(),
            strict=True,
        )
        best = f"best_f1 is the largest F1 at IoU {MATCH_IOU} on a class's curve, at_score the threshold that gives it"
        return Measured(
            metrics=report.headline(),
            notes=(
                f"boxes with score >= {self._settings.score_threshold:g}, at most {limit} an image, as COCO measures",
                "ap is the mean over IoU 0.50:0.05:0.95 (pycocotools); small is below 32², large above 96² pixels",
                best,
            ),
            tables=(Table("by class", columns, tuple(per_class)),),
            figures={"precision_recall": partial(curves.precision_recall, report, self._labels)},
            worst=self._worst(samples, truths, rows),
            shown_threshold=self._shown,
        )

    def _worst(
        self, samples: tuple[Sample, ...], truths: list[BoxesTarget], rows: tuple[FoundBoxes, ...]
    ) -> tuple[Worst, ...]:
        """Images by their part of missed and false boxes at the model's own threshold, the worst first."""
        judged = []
        for sample, truth, found in zip(samples, truths, rows, strict=True):
            missed, false = count_errors(truth, found, score_threshold=self._shown)
            wanted = int((~truth.crowd).sum())
            if missed + false:
                share = (missed + false) / (wanted + false)
                caption = f"{missed} of {wanted} missed, {false} false at score {self._shown:g}"
                right = self._drawn(truth.boxes, np.ones(len(truth), np.float32), truth.class_ids)
                answer = self._drawn(found.boxes, found.scores, found.class_ids)
                judged.append((share, missed + false, Worst((sample,), caption, (right,), (answer,))))
        judged.sort(key=lambda one: (-one[0], -one[1]))
        return tuple(one[2] for one in judged[: self._settings.num_worst])

    def _drawn(self, boxes: FloatArray, scores: FloatArray, class_ids: NDArray[np.int64]) -> Detections:
        order = np.argsort(-scores, kind="stable")
        names = tuple(self._labels[i] for i in class_ids[order].tolist())
        return Detections(boxes[order], scores[order], class_ids[order], names)


def count_errors(truth: BoxesTarget, found: FoundBoxes, *, score_threshold: float) -> tuple[int, int]:
    """Objects that nothing was matched to, and boxes at or above the threshold that match none, class by class.

    The best box takes the free object that it overlaps most, from ``MATCH_IOU`` on; one that lies in a crowd is no
    error.
    """
    order = np.argsort(-found.scores, kind="stable")
    order = order[found.scores[order] >= score_threshold]
    overlaps = iou_matrix(found.boxes, truth.boxes) * (found.class_ids[:, None] == truth.class_ids[None])  # (N, M)
    free, false = ~truth.crowd, 0
    for i in order.tolist():
        candidates = np.where(free, overlaps[i], 0.0)
        best = int(np.argmax(candidates)) if len(candidates) else -1
        if best >= 0 and candidates[best] >= MATCH_IOU:
            free[best] = False
        elif not (truth.crowd & (overlaps[i] > 0)).any():
            false += 1
    return int(free.sum()), false


def _target(sample: Sample) -> BoxesTarget:
    assert isinstance(sample.target, BoxesTarget)
    return sample.target
