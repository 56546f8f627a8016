"""What a bench asks and of whom: a model on a server, or a package on a server of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.errors import InvalidRequestError
from pipelines.image import ImageLimits
from pipelines.loader import Loaded, LoadedCascade, LoadedModel, find_package, load_package
from pipelines.manifest import CascadeManifest, parse_manifest
from pipelines.session import CPU
from pipelines.tasks import Pipeline, build_pipeline
from pipelines.types import AnyArray
from serving.bench.floor import ROWS, ROWS_ON_DEVICE, Floor, image_work, measure_floor, tensor_work
from serving.bench.messages import Messages, image_messages, tensor_messages
from serving.bench.server_process import own_server
from serving.client import VisionClient
from serving.cpu import usable_cores
from serving.malloc import keep_large_blocks
from serving.providers import session_options
from serving.repository import scan

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PHOTO_HW = (480, 640)
JPEG_QUALITY = 90
# The floor is measured for a part of a load's time: alone, and for each size of run.
_FLOOR_PART = 0.5


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom to ask what.

    Attributes:
        model: its name.
        grpc: the server's ``host:port``.
        http: its ``host:port`` of metrics; ``None``: not known.
        messages: what is sent.
        floor: measures the floor; ``None`` where the server's files are not at hand.
    """

    model: str
    grpc: str
    http: str | None
    messages: Messages
    floor: Callable[[], Floor] | None


def on_server(server: str, model: str, *, http: str | None, images: Sequence[bytes], tensor: bool) -> Subject:
    """A model on a server that runs; raises what ``VisionClient.describe_model`` raises."""
    messages = image_messages(model, images)
    if tensor:
        with VisionClient(server) as client:
            manifest = parse_manifest(json.loads(client.describe_model(model).manifest_json), where=model)
        if isinstance(manifest, CascadeManifest):
            raise InvalidRequestError(f"{model} must have a graph to take tensors, it is a cascade")
        messages = tensor_messages(model, manifest.inputs[0].name, first_row(build_pipeline(manifest), images))
    return Subject(model=model, grpc=server, http=http, messages=messages, floor=None)


@contextmanager
def of_package(
    package: Path, *, images: Sequence[bytes], tensor: bool, duration_s: float, models: Path | None = None
) -> Iterator[Subject]:
    """A package on a server of its own, with its floor; raises PackageError, StartError.

    ``models``: what the server is told to serve instead of the package's own folder.
    """
    keep_large_blocks()
    cv2.setNumThreads(1)
    folder = find_package(package)
    # On the provider that the server is told to use; the floor of a GPU is a GPU's.
    deploy = scan((models or folder,))[0].deploy
    options = session_options(deploy.runtime, model_folder=folder.parent)
    with load_package(folder, options=options) as loaded, own_server(models or loaded.folder) as server:
        messages = messages_of(loaded, images, tensor=tensor)
        if tensor:
            work = tensor_work(with_a_graph(loaded).session, first_row(with_a_graph(loaded).pipeline, images))
        else:
            work = image_work(loaded, images)
        floor = partial(measure_floor, work, threads=usable_cores(), duration_s=duration_s * _FLOOR_PART)
        rows = ROWS if deploy.runtime.providers[0] == CPU else ROWS_ON_DEVICE
        floor = partial(floor, rows=(floor(rows=rows * 2).rows,))  # which is best is asked twice, then only how fast
        name = loaded.manifest.name
        yield Subject(model=name, grpc=server.grpc, http=server.http, messages=messages, floor=floor)


def messages_of(loaded: Loaded, images: Sequence[bytes], *, tensor: bool) -> Messages:
    """Requests for a package: images, or tensors for its graph; raises InvalidRequestError for a cascade's tensors."""
    if not tensor:
        return image_messages(loaded.manifest.name, images)
    model = with_a_graph(loaded)
    return tensor_messages(model.manifest.name, model.session.inputs[0].name, first_row(model.pipeline, images))


def with_a_graph(loaded: Loaded) -> LoadedModel:
    """The package as one with a graph of its own; raises InvalidRequestError for a cascade."""
    if isinstance(loaded, LoadedCascade):
        raise InvalidRequestError(f"{loaded.manifest.name} must have a graph to take tensors, it is a cascade")
    return loaded


def first_row(pipeline: Pipeline, images: Sequence[bytes]) -> AnyArray:
    """The first image as the graph takes it, without batch axis."""
    row, _ = pipeline.preprocess(pipeline.decode(images[0], ImageLimits()))
    return row


def read_images(path: Path | None) -> tuple[bytes, ...]:
    """A file's bytes, those of each image file right inside a folder by name, or else photos made up.

    Raises InvalidRequestError where a folder holds no image.
    """
    if path is None:
        return photos()
    if path.is_file():
        return (path.read_bytes(),)
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise InvalidRequestError(f"{path} must hold an image file, it holds none")
    return tuple(file.read_bytes() for file in found)


def photos(count: int = 8) -> tuple[bytes, ...]:
    """So many different JPEG files of 640 x 480: smooth colours with noise, as large as those of a camera."""
    height, width = PHOTO_HW
    made = []
    for i in range(count):
        random = np.random.default_rng(i)
        coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        smooth: Any = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = np.clip(smooth + random.normal(0, 6, (height, width, 1)), 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        made.append(data.tobytes())
    return tuple(made)
