"""Clients of the vision service; importing them loads neither onnxruntime nor torch."""

from pipelines.tile_options import TileOptions
from serving.client.aio import AsyncVisionClient
from serving.client.carried import carrying
from serving.client.channel import OF_CLIENT, Timeout
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
from serving.client.retry import Retry
from serving.client.sync import VisionClient
from serving.client.tls import Tls

__all__ = [
    "OF_CLIENT",
    "AsyncVisionClient",
    "Image",
    "ModelDescription",
    "ModelStatus",
    "Options",
    "Prediction",
    "Retry",
    "TileOptions",
    "TilePrediction",
    "Timeout",
    "Timings",
    "Tls",
    "VisionClient",
    "WhenFull",
    "carrying",
]
