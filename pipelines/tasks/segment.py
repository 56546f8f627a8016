"""Segmentation: probabilities brought back to the original size, then a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping

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


class SegmentationPipeline(ImageFront):
    """Answers a class for every pixel; with one foreground also its probability, as ``alpha``."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, SegmentationHead)

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act: softmax heads have no ``score_threshold``."""
        super().check(options)
        if options.score_threshold is not None and self._head.activation == "softmax":
            raise InvalidRequestError(
                f"score_threshold does not apply to {self.manifest.name}: each pixel takes its most probable class"
            )

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> SegmentationMap:
        """Turn maps ``(C, h, w)`` into a map of the original size; raises as ``Pipeline.postprocess``."""
        self.check(options)
        if self._head.activation == "softmax":
            return self._many_classes(read_output(outputs, self._head.output, (None, None, None)), affine)
        maps = read_output(outputs, self._head.output, (1, None, None))
        threshold = self._head.threshold if options.score_threshold is None else options.score_threshold
        return self._one_foreground(maps[0], affine, threshold)

    def _one_foreground(self, values: FloatArray, affine: Affine, threshold: float) -> SegmentationMap:
        """Probability to 8 bits (truncated), resized as 8 bits, then thresholded: as U2-Net's own tools do."""
        require_labels(self.manifest.labels, 2)
        levels = (self._probability(values) * np.float32(255)).astype(np.uint8)
        alpha: ByteArray = self._to_source(levels, affine)
        # The threshold becomes the first of the 256 levels that reaches it, so that each pixel costs one comparison.
        class_map = (alpha >= np.searchsorted(_LEVELS, threshold)).astype(np.uint8)
        return SegmentationMap(class_map=class_map, alpha=alpha, labels=self.manifest.labels)

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
        """Resize the probabilities of one class after the other, keeping the best so far; ties go to the lower id.

        Only three maps of the original size exist at a time, whatever the number of classes.
        """
        require_labels(self.manifest.labels, len(logits))
        probabilities = softmax(logits, axis=0)
        best = self._to_source(probabilities[0], affine)
        class_map = np.zeros(best.shape, np.uint8 if len(logits) <= 256 else np.uint16)
        for class_id in range(1, len(logits)):
            rival = self._to_source(probabilities[class_id], affine)
            class_map[rival > best] = class_id
            np.maximum(best, rival, out=best)
        return SegmentationMap(class_map=class_map, labels=self.manifest.labels)

    def _to_source(self, values: AnyArray, affine: Affine) -> AnyArray:
        try:
            return to_source(values, affine, self._head.mask_resample)
        except ValueError as error:
            raise ModelOutputError(f"output {self._head.output!r} does not fit the row: {error}") from error


def minmax(values: FloatArray) -> FloatArray:
    """Stretch to 0..1 by the array's own extremes; all 0 where every value is the same, since nothing stands out."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros_like(values)
    return (values - low) / (high - low)
