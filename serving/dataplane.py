"""What the server does, whatever the transport: predict, list, describe."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipelines.errors import DeadlineExceededError, DrainingError
from pipelines.geometry import Affine
from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.tasks import Pipeline
from pipelines.types import AnyArray, Result
from serving.batcher import RowOutputs
from serving.catalog import Catalog, ModelStatus
from serving.served import ServedModel
from serving.threads import Threads

NO_OPTIONS = PredictOptions()
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PredictCall:
    """One image for one model.

    Attributes:
        model: name.
        version: 0 is the newest that is ready.
        image: encoded file.
        options: what the request changes.
        deadline: monotonic seconds; infinite where the caller waits for ever.
    """

    model: str
    image: bytes
    version: int = 0
    options: PredictOptions = NO_OPTIONS
    deadline: float = math.inf


@dataclass(frozen=True)
class Timings:
    """Seconds by stage; ``queue_s`` is all that was waiting: for a thread, for a free run, for the event loop."""

    decode_s: float
    preprocess_s: float
    queue_s: float
    inference_s: float
    postprocess_s: float


@dataclass(frozen=True, eq=False)
class Answer:
    """The result for one image.

    Attributes:
        model: name of the model that answered.
        version: of the model that answered.
        image_hw: size of the image after its EXIF orientation.
        result: by the model's task.
        timings: of the stages up to the result.
    """

    model: str
    version: int
    image_hw: tuple[int, int]
    result: Result
    timings: Timings


@dataclass(frozen=True)
class Description:
    """What a model version is and how it is run; ``golden`` is what its replay at load proved."""

    model: str
    version: int
    manifest_json: str
    provider: str
    max_batch: int
    golden: str


@dataclass(frozen=True, eq=False)
class _Prepared:
    row: AnyArray
    affine: Affine
    image_hw: tuple[int, int]
    decode_s: float
    preprocess_s: float


class DataPlane:
    """The one thing that transports call; it belongs to one event loop, and computes on ``pixels`` alone."""

    def __init__(self, catalog: Catalog, pixels: Threads, limits: ImageLimits) -> None:
        """``pixels``: threads for decoding, pre- and post-processing of all models."""
        self._catalog = catalog
        self._pixels = pixels
        self._limits = limits
        self._inside: set[asyncio.Timeout] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._aborted = False

    async def predict(self, call: PredictCall, serialize: Callable[[Answer], T]) -> T:
        """Answer one image; ``serialize`` makes of the answer what the transport sends, on a pixel thread.

        Raises UnknownModelError, ModelNotReadyError, DrainingError, InvalidRequestError, OverloadedError,
        ImageDecodeError, ImageTooLargeError, DeadlineExceededError, and whatever a faulty model raises.
        """
        model = self._catalog.find(call.model, call.version)
        model.pipeline.check(call.options)
        with model.batcher.admit():
            bound = asyncio.timeout_at(None if math.isinf(call.deadline) else call.deadline)
            self._enter(bound)
            try:
                async with bound:
                    return await self._predict(model, call, serialize)
            except TimeoutError:
                if not bound.expired():
                    raise
                if self._aborted:
                    raise DrainingError("the server stopped before the answer was ready") from None
                raise DeadlineExceededError("the deadline passed before the answer was ready") from None
            finally:
                self._leave(bound)

    async def _predict(self, model: ServedModel, call: PredictCall, serialize: Callable[[Answer], T]) -> T:
        arrival = time.monotonic()
        if call.deadline <= arrival:
            raise DeadlineExceededError("the deadline passed before the request arrived")
        prepared = await self._pixels.run(_prepare, model.pipeline, call.image, self._limits)
        ran = await model.batcher.run(prepared.row, deadline=call.deadline)
        answer, message, serialize_s = await self._pixels.run(
            _finish, model, call.options, prepared, ran, arrival, serialize
        )
        timings = answer.timings
        model.meter.stages(
            timings.decode_s,
            timings.preprocess_s,
            timings.queue_s,
            timings.inference_s,
            timings.postprocess_s,
            serialize_s,
        )
        return message

    def models(self) -> tuple[ModelStatus, ...]:
        """Every known model version."""
        return self._catalog.statuses()

    def describe(self, model: str, version: int) -> Description:
        """Describe one ready model version; raises UnknownModelError, ModelNotReadyError or DrainingError."""
        served = self._catalog.find(model, version)
        golden = served.loaded.golden
        return Description(
            served.name,
            served.version,
            served.manifest_json,
            served.loaded.session.provider,
            served.policy.max_size,
            golden.meaning if golden else "not replayed",
        )

    async def wait_empty(self) -> None:
        """Return once no request is inside."""
        await self._empty.wait()

    def abort(self) -> None:
        """End every request inside with DrainingError."""
        self._aborted = True
        for bound in self._inside:
            if not bound.expired():
                bound.reschedule(0)

    def _enter(self, bound: asyncio.Timeout) -> None:
        self._inside.add(bound)
        self._empty.clear()

    def _leave(self, bound: asyncio.Timeout) -> None:
        self._inside.discard(bound)
        if not self._inside:
            self._empty.set()


def _prepare(pipeline: Pipeline, data: bytes, limits: ImageLimits) -> _Prepared:
    start = time.monotonic()
    image = pipeline.decode(data, limits)
    decoded = time.monotonic()
    row, affine = pipeline.preprocess(image)
    return _Prepared(row, affine, affine.src_hw, decoded - start, time.monotonic() - decoded)


def _finish(
    model: ServedModel,
    options: PredictOptions,
    prepared: _Prepared,
    ran: RowOutputs,
    arrival: float,
    serialize: Callable[[Answer], T],
) -> tuple[Answer, T, float]:
    start = time.monotonic()
    result = model.pipeline.postprocess(ran.outputs, prepared.affine, options)
    done = time.monotonic()
    worked_s = prepared.decode_s + prepared.preprocess_s + ran.inference_s
    timings = Timings(
        prepared.decode_s, prepared.preprocess_s, start - arrival - worked_s, ran.inference_s, done - start
    )
    answer = Answer(model.name, model.version, prepared.image_hw, result, timings)
    message = serialize(answer)
    return answer, message, time.monotonic() - done
