"""Embedding: one vector for an image, of length 1 where the head says so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.errors import ModelOutputError
from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.options import PredictOptions
from pipelines.outputs import read_output
from pipelines.specs import EmbeddingHead
from pipelines.tasks.pipeline import ImageFront, head_of
from pipelines.types import AnyArray, Embedding, FloatArray


class EmbeddingPipeline(ImageFront):
    """Answers the model's vector of the whole image."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest)
        self._head = head_of(manifest, EmbeddingHead)

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> Embedding:
        """Turn a vector ``(dim,)`` into an embedding; raises as ``Pipeline.postprocess``, also for a zero vector."""
        self.check(options)
        vector = read_output(outputs, self._head.output, (self._head.dim,))
        return Embedding(unit(vector) if self._head.normalize else vector.copy())


def unit(vector: FloatArray) -> FloatArray:
    """Divide ``(D,)`` by its L2 norm, computed in float64; raises ModelOutputError for a zero vector."""
    wide = vector.astype(np.float64)  # squares of float32 values neither overflow nor vanish in float64.
    norm = np.sqrt((wide * wide).sum())
    if norm == 0:
        raise ModelOutputError("an embedding must not be the zero vector: it has no direction")
    return (wide / norm).astype(np.float32)
