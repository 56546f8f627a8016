"""Classification: activation, then the best classes."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.activations import sigmoid, softmax
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.nms import best_first
from pipelines.options import PredictOptions
from pipelines.outputs import read_output
from pipelines.specs import ClassificationHead
from pipelines.tasks.pipeline import ImageFront, class_labels, head_of
from pipelines.types import AnyArray, Classification


class ClassificationPipeline(ImageFront):
    """Answers the ``top_k`` best classes of the whole image; ties go to the lower class id."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, ClassificationHead)

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> Classification:
        """Turn scores or logits ``(C,)`` into the best classes; raises as ``Pipeline.postprocess``."""
        self.check(options)
        scores = read_output(outputs, self._head.output, (None,))
        if self._head.activation == "softmax":
            scores = softmax(scores)
        elif self._head.activation == "sigmoid":
            scores = sigmoid(scores)
        best = best_first(scores, options.top_k or self._head.top_k)
        labels = class_labels(self.manifest.labels, best, len(scores))
        return Classification(class_ids=best, scores=scores[best], labels=labels)
