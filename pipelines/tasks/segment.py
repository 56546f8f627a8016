"""Segmentation: probabilities brought back to the original size, then a class for every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.activations import sigmoid, softmax
from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.masks import to_source
from pipelines.options import PredictOptions
from pipelines.outputs import read_output, require_labels, require_probabilities
from pipelines.specs import SegmentationHead
from pipelines.tasks.pipeline import ImageFront, head_of
from pipelines.types import AnyArray, ByteArray, FloatArray, SegmentationMap

_LEVELS = np.arange(256) / 255
_LARGEST_LOGIT = np.float32(2.0**100)  # so that no sum of weighted logits leaves float32; ties stay ties.


class SegmentationPipeline(ImageFront):
    """Answers a class for every pixel; with one foreground also its probability, as ``alpha``."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, SegmentationHead)

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act: a ``score_threshold`` where classes compete."""
        super().check(options)
        if options.score_threshold is not None and self._head.many_classes:
            raise InvalidRequestError(
                f"score_threshold does not apply to {self.manifest.name}: each pixel takes its most probable class"
            )

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> SegmentationMap:
        """Turn maps ``(C, h, w)`` into a map of the original size; raises as ``Pipeline.postprocess``."""
        self.check(options)
        if self._head.many_classes:
            return self._many_classes(self._read(outputs, (None, None, None)), affine)
        maps = self._read(outputs, (1, None, None))
        threshold = self._head.threshold if options.score_threshold is None else options.score_threshold
        return self._one_foreground(maps[0], affine, threshold)

    def _read(self, outputs: Mapping[str, AnyArray], shape: Sequence[int | None]) -> FloatArray:
        maps = read_output(outputs, self._head.output, shape)
        return np.clip(maps, -_LARGEST_LOGIT, _LARGEST_LOGIT) if self._head.resized == "logits" else maps

    def _one_foreground(self, values: FloatArray, affine: Affine, threshold: float) -> SegmentationMap:
        """Probability to 8 bits (truncated), then thresholded; resized as 8 bits, as U2-Net's tools do, or before."""
        require_labels(self.manifest.labels, 2)
        if self._head.resized == "logits":
            alpha = _levels(self._probability(self._to_source(values, affine)))
        else:
            alpha = self._to_source(_levels(self._probability(values)), affine)
        return SegmentationMap(class_map=foreground(alpha, threshold), alpha=alpha, labels=self.manifest.labels)

    def _probability(self, values: FloatArray) -> FloatArray:
        match self._head.activation:
            case "sigmoid":
                return sigmoid(values)
            case "minmax":
                return minmax(values)
            case _:
                require_probabilities(self._head.output, values)
                return np.clip(values, 0, 1)

    def _many_classes(self, logits: FloatArray, affine: Affine) -> SegmentationMap:
        """Take at each pixel the most probable class of those that reach their threshold; ties go to the lower id.

        Maps are resized one after the other, keeping the best so far: only three of the original size exist at a time,
        whatever the number of classes. Softmax of logits that were resized needs one more, for the sum of exponentials.
        """
        background = self._head.activation == "softmax"
        num_classes = len(logits) + (not background)
        require_labels(self.manifest.labels, num_classes)
        thresholds = self._head.class_thresholds or (0.0,) * (num_classes - 1)
        if len(thresholds) != num_classes - 1:
            raise ModelOutputError(
                f"class_thresholds must be {num_classes - 1}, one for each class above the background of output "
                f"{self._head.output!r}, got {len(thresholds)}"
            )
        maps = self._class_maps(logits, affine)
        best = next(maps) if background else np.zeros(affine.src_hw, np.float32)
        class_map = np.zeros(best.shape, np.uint8 if num_classes <= 256 else np.uint16)
        for class_id, (rival, threshold) in enumerate(zip(maps, thresholds, strict=True), start=1):
            wins = (rival > best) & (rival >= np.float32(threshold))
            class_map[wins] = class_id
            best[wins] = rival[wins]
        return SegmentationMap(class_map=class_map, labels=self.manifest.labels)

    def _class_maps(self, logits: FloatArray, affine: Affine) -> Iterator[FloatArray]:
        """Each class's probability ``(H, W)`` at the original size; the arrays are the caller's to write into."""
        softly = self._head.activation == "softmax"
        if self._head.resized == "probabilities":
            for values in softmax(logits, axis=0) if softly else sigmoid(logits):
                yield self._to_source(values, affine)
        elif not softly:
            for values in logits:
                yield sigmoid(self._to_source(values, affine))
        else:
            total = self._log_of_sum(logits, affine)
            for values in logits:
                yield np.exp(self._to_source(values, affine) - total)

    def _log_of_sum(self, logits: FloatArray, affine: Affine) -> FloatArray:
        """Logarithm of the sum of exponentials of the resized maps: what a softmax takes away from each."""
        total = self._to_source(logits[0], affine).copy()
        for values in logits[1:]:
            np.logaddexp(total, self._to_source(values, affine), out=total)
        return total

    def _to_source(self, values: AnyArray, affine: Affine) -> AnyArray:
        try:
            return to_source(values, affine, self._head.mask_resample)
        except ValueError as error:
            raise ModelOutputError(f"output {self._head.output!r} does not fit the row: {error}") from error


def foreground(alpha: ByteArray, threshold: float) -> ByteArray:
    """Class map ``(H, W)`` uint8 of an ``alpha``: 1 where the probability reaches ``threshold``, else 0.

    The threshold becomes the first of the 256 levels that reaches it, so that each pixel costs one comparison.
    """
    return (alpha >= np.searchsorted(_LEVELS, threshold)).astype(np.uint8)


def _levels(probability: FloatArray) -> ByteArray:
    return (probability * np.float32(255)).astype(np.uint8)


def minmax(values: FloatArray) -> FloatArray:
    """Stretch to 0..1 by the array's own extremes; all 0 where every value is the same, since nothing stands out."""
    halves = values * np.float32(0.5)  # exact, and no difference of halves leaves float32.
    low, high = halves.min(), halves.max()
    if low == high:
        return np.zeros_like(values)
    return (halves - low) / (high - low)
