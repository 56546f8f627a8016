"""Classification: activation, then the best classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipelines.activations import log_softmax, sigmoid, softmax
from pipelines.errors import InvalidRequestError
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.nms import best_first
from pipelines.options import PredictOptions
from pipelines.outputs import read_output, require_probabilities
from pipelines.specs import ClassificationHead
from pipelines.tasks.pipeline import ImageFront, class_labels, head_of
from pipelines.types import AnyArray, Classification, FloatArray

_ACTIVATIONS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sigmoid": sigmoid,
}
_LARGEST = float(np.finfo(np.float32).max)


class ClassificationPipeline(ImageFront):
    """Answers the best classes of the whole image, at most ``top_k``; ties go to the lower class id."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, ClassificationHead)

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act: ``score_threshold`` needs a multi-label head."""
        super().check(options)
        if options.score_threshold is not None and self._head.score_threshold is None:
            raise InvalidRequestError(
                f"score_threshold does not apply to {self.manifest.name}: it answers its best classes at any score"
            )

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> Classification:
        """Turn scores or logits ``(C,)`` into the best classes; raises as ``Pipeline.postprocess``."""
        self.check(options)
        scores = self._scores(read_output(outputs, self._head.output, (None,)))
        best = best_first(scores, options.top_k or self._head.top_k)
        if self._head.score_threshold is not None:
            require_probabilities(self._head.output, scores)
            threshold = self._head.score_threshold if options.score_threshold is None else options.score_threshold
            best = best[scores[best] >= np.float32(threshold)]
        labels = class_labels(self.manifest.labels, best, len(scores))
        return Classification(class_ids=best, scores=scores[best], labels=labels)

    def _scores(self, values: FloatArray) -> FloatArray:
        if self._head.activation == "none":
            return values
        logits = values.astype(np.float64) / self._head.temperature
        return _ACTIVATIONS[self._head.activation](np.clip(logits, -_LARGEST, _LARGEST).astype(np.float32))
