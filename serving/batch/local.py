"""A package run in this process, by the same parts as the server's: its data plane, batches and pixel threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import cv2

from pipelines.image import ImageLimits
from pipelines.loader import LoadedModel, find_package, load_package
from pipelines.options import PredictOptions
from pipelines.session import SessionOptions
from pipelines.types import ByteArray
from serving.batch.engine import Engine, Finish
from serving.batch.errors import JobError
from serving.catalog import Catalog
from serving.cpu import usable_cores
from serving.dataplane import Answer, DataPlane, PredictCall
from serving.malloc import keep_large_blocks
from serving.metrics import Metrics
from serving.repository import scan
from serving.served import ServedModel
from serving.threads import Threads

T = TypeVar("T")


class LocalEngine:
    """A package's model; see ``Engine``."""

    def __init__(self, served: ServedModel, plane: DataPlane, options: PredictOptions, *, cores: int) -> None:
        manifest = served.loaded.manifest
        self.model, self.version = served.name, served.version
        self.task: str = served.task
        self.labels, self.manifest_json = manifest.labels, served.manifest_json
        # All runs full, and as many again being decoded and finished as there are pixel threads, twice: one that is
        # in work and one that waits for it.
        self.concurrency = min(served.policy.slots * served.policy.max_size + 2 * cores, served.policy.capacity)
        self._pipeline = served.pipeline
        self._plane = plane
        self._options = options

    async def answer(self, data: bytes, finish: Finish[T]) -> T:
        """Run the model on one encoded image."""

        def serialize(answer: Answer) -> T:
            spent = answer.timings
            return finish(
                answer.result,
                answer.image_hw,
                spent.decode_s + spent.preprocess_s + spent.inference_s + spent.postprocess_s,
            )

        call = PredictCall(model=self.model, version=self.version, image=data, options=self._options)
        return await self._plane.predict(call, serialize)

    def decode(self, data: bytes) -> ByteArray:
        """The pixels that results refer to."""
        return self._pipeline.decode(data, ImageLimits())


@asynccontextmanager
async def local_engine(package: Path, options: PredictOptions) -> AsyncIterator[Engine]:
    """Load a package as ``ocella serve`` would, with its model's ``deploy.toml``; raises PackageError, StartError."""
    folder = find_package(package)
    deploy = scan((folder,))[0].deploy
    keep_large_blocks()
    cv2.setNumThreads(1)  # one image a thread
    runtime, cores = deploy.runtime, usable_cores()
    session = SessionOptions(
        providers=runtime.providers, intra_op_threads=runtime.intra_op_threads, arena=runtime.arena
    )
    loaded = await asyncio.to_thread(load_package, folder, options=session)
    if not isinstance(loaded, LoadedModel):
        raise JobError(f"{package} must be a package with a graph of its own, give --server for a cascade")
    loaded.pipeline.check(options)
    catalog = Catalog()
    meter = Metrics().model(loaded.manifest.name, loaded.manifest.version)
    pixels = Threads(cores, name="pixels")
    try:
        with ServedModel(loaded, deploy, meter, cores=cores) as served:
            catalog.put_ready(served)
            yield LocalEngine(served, DataPlane(catalog, pixels, ImageLimits()), options, cores=cores)
    finally:
        pixels.close()
