"""Clients of the vision service; importing them loads neither onnxruntime nor torch."""

from pipelines.tile_options import TileOptions
from serving.client.aio import AsyncVisionClient
from serving.client.results import (
    Image,
    ModelDescription,
    ModelStatus,
    Options,
    Prediction,
    TilePrediction,
    Timings,
    WhenFull,
)
from serving.client.sync import VisionClient

__all__ = [
    "AsyncVisionClient",
    "Image",
    "ModelDescription",
    "ModelStatus",
    "Options",
    "Prediction",
    "TileOptions",
    "TilePrediction",
    "Timings",
    "VisionClient",
    "WhenFull",
]
