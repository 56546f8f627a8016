"""Measuring a segmentation."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from export.data.dataset import IGNORED, Dataset, DatasetError, MaskTarget, Sample
from export.evaluate import curves
from export.evaluate.labels import match_labels
from export.evaluate.measured import Measured, Table, Worst
from export.evaluate.predictor import Settings
from export.metrics.segmentation import pixel_confusion, segmentation_report
from pipelines.manifest import ModelManifest
from pipelines.types import AnyArray, Result, SegmentationMap


class SegmentationJudge:
    """Counts pixels; an image's masks are dropped as soon as they are counted."""

    def __init__(self, dataset: Dataset, manifest: ModelManifest, settings: Settings) -> None:
        self._labels, self._settings = dataset.labels, settings
        self._map = match_labels(dataset, manifest.labels)

    def judge(self, sample: Sample, result: Result) -> NDArray[np.int64]:
        """Count the pixels of one image by true and answered class; raises DatasetError where sizes differ."""
        assert isinstance(result, SegmentationMap)
        truth = _class_map(sample)
        if truth.shape != result.class_map.shape:
            raise DatasetError(
                f"{sample.path}: the mask must have the size of the image {result.class_map.shape}, got {truth.shape}"
            )
        return pixel_confusion(truth, self._map(result.class_map), len(self._labels), ignored=IGNORED)

    def measure(self, samples: tuple[Sample, ...], rows: tuple[NDArray[np.int64], ...]) -> Measured:
        """Join the counts of all images."""
        report = segmentation_report(rows)
        pixels = report.confusion.sum(axis=1)
        per_class = zip(self._labels, pixels.tolist(), report.iou.tolist(), report.dice.tolist(), strict=True)
        # The background is most of most images: where there is anything else, an image is judged by that.
        start = 1 if len(self._labels) > 1 else 0
        scores = np.array([_mean(row[start:], row) for row in report.image_iou])
        order = np.argsort(scores, kind="stable")[: self._settings.num_worst].tolist()
        return Measured(
            metrics=report.headline(),
            notes=(
                "pixels of all images are counted together; means are over the classes that occur",
                "foreground leaves out class 0; an image's IoU is the mean over its classes but the background",
            ),
            tables=(Table("by class", ("class", "pixels", "iou", "dice"), tuple(per_class)),),
            figures={
                "iou_histogram": partial(curves.iou_histogram, scores),
                "confusion": partial(curves.confusion, report.confusion, self._labels),
            },
            worst=tuple(
                Worst((samples[i],), f"IoU {scores[i]:.3f}", (SegmentationMap(_shown(samples[i]), None, self._labels),))
                for i in order
            ),
        )


def _mean(values: AnyArray, otherwise: AnyArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float(np.nanmean(otherwise)) if np.isfinite(otherwise).any() else 1.0


def _class_map(sample: Sample) -> AnyArray:
    assert isinstance(sample.target, MaskTarget)
    return sample.target.class_map()


def _shown(sample: Sample) -> AnyArray:
    class_map = _class_map(sample)
    return np.where(class_map == IGNORED, 0, class_map).astype(np.uint8)
