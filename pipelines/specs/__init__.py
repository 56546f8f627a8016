"""The recipe part of a manifest: what an image becomes and what the graph's outputs mean."""

from pipelines.specs.base import Count, Level, OutputName, Positive, Probability, Resample, SizeHW, Spec, TensorSpec
from pipelines.specs.decoders import CenterHeatmap, Decoder, ProbabilityMap, YoloGrid
from pipelines.specs.heads import ClassificationHead, DetectionHead, EmbeddingHead, Head, Nms, SegmentationHead
from pipelines.specs.image import CenterCrop, Fit, ImageSpec, Letterbox, Pad, Stretch, StretchToMultiple

__all__ = [
    "CenterCrop",
    "CenterHeatmap",
    "ClassificationHead",
    "Count",
    "Decoder",
    "DetectionHead",
    "EmbeddingHead",
    "Fit",
    "Head",
    "ImageSpec",
    "Letterbox",
    "Level",
    "Nms",
    "OutputName",
    "Pad",
    "Positive",
    "Probability",
    "ProbabilityMap",
    "Resample",
    "SegmentationHead",
    "SizeHW",
    "Spec",
    "Stretch",
    "StretchToMultiple",
    "TensorSpec",
    "YoloGrid",
]
