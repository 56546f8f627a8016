"""Pipelines: one a task, from encoded image to typed result around a graph."""

from collections.abc import Callable, Mapping

from pipelines.manifest import ModelManifest
from pipelines.tasks.cascade import CascadePipeline, CascadeSessions
from pipelines.tasks.classify import ClassificationPipeline
from pipelines.tasks.detect import DetectionPipeline
from pipelines.tasks.embed import EmbeddingPipeline
from pipelines.tasks.pipeline import Pipeline
from pipelines.tasks.predict import predict
from pipelines.tasks.segment import SegmentationPipeline

PIPELINES: Mapping[str, Callable[[ModelManifest], Pipeline]] = {
    "classification": ClassificationPipeline,
    "detection": DetectionPipeline,
    "embedding": EmbeddingPipeline,
    "segmentation": SegmentationPipeline,
}


def build_pipeline(manifest: ModelManifest) -> Pipeline:
    """Build the pipeline of a manifest's task; a cascade's is built from its two members' (``CascadePipeline``)."""
    return PIPELINES[manifest.head.task](manifest)


__all__ = ["PIPELINES", "CascadePipeline", "CascadeSessions", "Pipeline", "build_pipeline", "predict"]
