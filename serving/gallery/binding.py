"""What a gallery's embeddings are embeddings of: the embedder, its recipe, and how faces are cut out for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipelines.errors import InvalidRequestError
from pipelines.manifest import GRAPH_FILE, ModelManifest
from pipelines.specs import AlignCrop, EmbeddingHead
from pipelines.tasks import CascadePipeline, Pipeline

WHOLE_IMAGE = "whole image"


@dataclass(frozen=True)
class Binding:
    """Two embeddings can be compared where these are equal.

    Attributes:
        embedder_sha256: of the embedder's graph.
        recipe_seal: of its recipe.
        crop: template, side and padding of the aligned faces as JSON, or ``whole image``. Which detector found the
            landmarks is no part of it.
        dim: of the vectors.
    """

    embedder_sha256: str
    recipe_seal: str
    crop: str
    dim: int


def binding_of(pipeline: Pipeline | CascadePipeline) -> Binding:
    """The binding of a model that embeds faces; raises InvalidRequestError for any other model."""
    if isinstance(pipeline, CascadePipeline):
        crop = pipeline.manifest.head.crop
        if isinstance(crop, AlignCrop) and pipeline.embeds_faces:
            how = crop.model_dump(include={"template", "size_px", "pad_value"})
            return _bind(pipeline.second.manifest, json.dumps(how, sort_keys=True))
    elif isinstance(pipeline.manifest.head, EmbeddingHead):
        return _bind(pipeline.manifest, WHOLE_IMAGE)
    manifest = pipeline.manifest
    raise InvalidRequestError(
        f"{manifest.name} must embed faces: a cascade that aligns and embeds, or an embedder; its task is "
        f"{manifest.head.task}"
    )


def _bind(embedder: ModelManifest, crop: str) -> Binding:
    assert isinstance(embedder.head, EmbeddingHead)
    return Binding(embedder.files[GRAPH_FILE], embedder.seal, crop, embedder.head.dim)
