"""A package run in this process, by the same parts as the server's: its data plane, batches and pixel threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import cv2

from pipelines.image import ImageLimits
from pipelines.loader import Loaded, find_package, load_package
from pipelines.options import PredictOptions
from pipelines.types import ByteArray
from serving.batch.engine import Engine, Finish
from serving.cascade import serve_loaded
from serving.catalog import Catalog
from serving.cpu import usable_cores
from serving.dataplane import Answer, DataPlane, PredictCall
from serving.malloc import keep_large_blocks
from serving.metrics import Metrics
from serving.providers import session_options
from serving.repository import scan
from serving.served import ServedModel
from serving.threads import Threads

T = TypeVar("T")


class LocalEngine:
    """A package's model; see ``Engine``."""

    def __init__(
        self, loaded: Loaded, served: ServedModel, plane: DataPlane, options: PredictOptions, *, cores: int
    ) -> None:
        self.package: Path | None = loaded.folder
        self.model, self.version = served.name, served.version
        self.task: str = served.task
        self.labels: tuple[str, ...] = getattr(loaded.manifest, "labels", ())  # a cascade has none of its own
        self.manifest_json = served.manifest_json
        # All runs full, and as many again being decoded and finished as there are pixel threads, twice: one that is
        # in work and one that waits for it.
        self.concurrency = min(served.policy.slots * served.policy.max_size + 2 * cores, served.policy.capacity)
        self._pipeline = loaded.pipeline
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
async def local_engine(
    package: Path, options: PredictOptions, *, most_cores: int | None = None
) -> AsyncIterator[Engine]:
    """Load a package as ``ocella serve`` would, with its model's ``deploy.toml``; raises PackageError, StartError.

    ``most_cores``: to be used of those that this process may use; ``None``: all.
    """
    folder = find_package(package)
    deploy = scan((folder,))[0].deploy
    keep_large_blocks()
    cv2.setNumThreads(1)  # one image a thread
    cores = min(usable_cores(), most_cores or usable_cores())
    session = session_options(deploy.runtime, model_folder=folder.parent)
    loaded = await asyncio.to_thread(load_package, folder, options=session)
    try:
        loaded.pipeline.check(options)
    except BaseException:
        loaded.close()
        raise
    catalog = Catalog()
    meter = Metrics().model(loaded.manifest.name, loaded.manifest.version)
    pixels = Threads(cores, name="pixels")
    try:
        with serve_loaded(loaded, deploy, meter, cores=cores) as served:
            catalog.put_ready(served)
            yield LocalEngine(loaded, served, DataPlane(catalog, pixels, ImageLimits()), options, cores=cores)
    finally:
        pixels.close()
