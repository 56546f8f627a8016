"""A package run in this process, by the same parts as the server's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import cv2

from pipelines.image import ImageLimits
from pipelines.loader import Loaded, find_package, load_package
from pipelines.options import PredictOptions
from pipelines.types import ByteArray
from serving.batch.engine import Engine, Finish
from serving.batch.whole import OnRunThreads
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


class Predict(Protocol):
    """Answers an encoded image; ``serialize`` makes of the answer what is wanted, on a thread."""

    async def __call__(self, data: bytes, serialize: Callable[[Answer], T]) -> T:
        """Raises one of the image's own errors, or whatever a faulty model raises."""
        ...


class LocalEngine:
    """A package's model; see ``Engine``."""

    def __init__(self, loaded: Loaded, served: ServedModel, predict: Predict, *, concurrency: int) -> None:
        self.package: Path | None = loaded.folder
        self.model, self.version = served.name, served.version
        self.task: str = served.task
        self.labels: tuple[str, ...] = getattr(loaded.manifest, "labels", ())  # a cascade has none of its own
        self.manifest_json = served.manifest_json
        self.concurrency = concurrency
        self._pipeline = loaded.pipeline
        self._predict = predict

    async def answer(self, data: bytes, finish: Finish[T]) -> T:
        """Run the model on one encoded image."""

        def serialize(answer: Answer) -> T:
            return finish(answer.result, answer.image_hw, answer.timings.worked_s)

        return await self._predict(data, serialize)

    def decode(self, data: bytes) -> ByteArray:
        """The pixels that results refer to."""
        return self._pipeline.decode(data, ImageLimits())


class InBatches:
    """A model behind the server's own data plane; see ``Predict``."""

    def __init__(self, plane: DataPlane, served: ServedModel, options: PredictOptions) -> None:
        self._plane, self._served, self._options = plane, served, options

    async def __call__(self, data: bytes, serialize: Callable[[Answer], T]) -> T:
        """Prepare and finish it on pixel threads, and run it with others."""
        served = self._served
        call = PredictCall(model=served.name, version=served.version, image=data, options=self._options)
        return await self._plane.predict(call, serialize)


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
    meter = Metrics().model(loaded.manifest.name, loaded.manifest.version)
    with serve_loaded(loaded, deploy, meter, cores=cores) as served, ExitStack() as stack:
        if served.policy.group_size:
            whole = OnRunThreads(served, options)
            yield LocalEngine(loaded, served, whole, concurrency=whole.concurrency)
            return
        pixels = Threads(cores, name="pixels")
        stack.callback(pixels.close)
        catalog = Catalog()
        catalog.put_ready(served)
        in_batches = InBatches(DataPlane(catalog, pixels, ImageLimits()), served, options)
        # All runs full, and as many again being decoded and finished as there are pixel threads, twice: one that is
        # in work and one that waits for it.
        most = served.policy.slots * served.policy.max_size + 2 * cores
        yield LocalEngine(loaded, served, in_batches, concurrency=min(most, served.policy.capacity))
