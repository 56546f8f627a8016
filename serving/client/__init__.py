"""Clients of the vision service; importing them loads neither onnxruntime nor torch."""

from serving.client.aio import AsyncVisionClient
from serving.client.results import Image, ModelDescription, ModelStatus, Options, Prediction, Timings
from serving.client.sync import VisionClient

__all__ = [
    "AsyncVisionClient",
    "Image",
    "ModelDescription",
    "ModelStatus",
    "Options",
    "Prediction",
    "Timings",
    "VisionClient",
]
