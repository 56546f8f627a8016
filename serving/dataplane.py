"""What the server does, whatever the transport: predict, list, describe."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np

from pipelines.errors import DeadlineExceededError, DrainingError
from pipelines.geometry import Affine
from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.tasks import Pipeline
from pipelines.types import AnyArray, Result
from serving.batcher import PartOutputs
from serving.catalog import Catalog, ModelStatus
from serving.rows import Rows, split_part
from serving.served import ServedModel
from serving.threads import Threads

NO_OPTIONS = PredictOptions()
T = TypeVar("T")


class Priority(IntEnum):
    """Whose rows go first; the numbers are those of the ``priority`` parameter of Triton's requests."""

    HIGH = 1
    NORMAL = 2


@dataclass(frozen=True, kw_only=True)
class PredictCall:
    """One image for one model.

    Attributes:
        model: name.
        version: 0 is the newest that is ready.
        image: encoded file.
        options: what the request changes.
        deadline: monotonic seconds; infinite where the caller waits for ever.
        priority: before or after whom it goes.
        client: who asks, so that clients share the model evenly; any text, such as gRPC's peer.
    """

    model: str
    image: bytes
    version: int = 0
    options: PredictOptions = NO_OPTIONS
    deadline: float = math.inf
    priority: Priority = Priority.NORMAL
    client: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class InferCall:
    """The graph's own tensors for one model: no pre- or post-processing.

    Attributes:
        model: name.
        version: 0 is the newest that is ready.
        tensors: every input of the graph, batch axis first, all with the same number of rows; read, never written.
        outputs: names of the outputs that are wanted; empty for all of the graph.
        deadline: monotonic seconds; infinite where the caller waits for ever.
        priority: before or after whom it goes.
        client: who asks.
    """

    model: str
    tensors: Mapping[str, AnyArray]
    version: int = 0
    outputs: tuple[str, ...] = ()
    deadline: float = math.inf
    priority: Priority = Priority.NORMAL
    client: str = ""


@dataclass(frozen=True, eq=False)
class InferAnswer:
    """What the graph answered.

    Attributes:
        model: name of the model that answered.
        version: of the model that answered.
        outputs: by name, batch axis first, in the rows' order; views of a run's outputs, not to be written.
        queue_s: seconds from arrival to answer that were not spent in the run.
        inference_s: seconds of the run; of the longest, where the rows were too many for one.
    """

    model: str
    version: int
    outputs: Mapping[str, AnyArray]
    queue_s: float
    inference_s: float


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
            async with self._bounded(call.deadline):
                return await self._predict(model, call, serialize)

    async def infer(self, call: InferCall) -> InferAnswer:
        """Run the graph itself; rows batch with those of other requests, of images, too.

        Raises UnknownModelError, ModelNotReadyError, DrainingError, InvalidRequestError, OverloadedError,
        DeadlineExceededError, and whatever a faulty model raises.
        """
        model = self._catalog.find(call.model, call.version)
        rows = model.contract.rows(call.tensors, call.outputs)
        with model.batcher.admit(rows.count):
            async with self._bounded(call.deadline):
                return await self._infer(model, call, rows)

    @asynccontextmanager
    async def _bounded(self, deadline: float) -> AsyncIterator[None]:
        """Count a request as inside, and end it at its deadline or at an abort."""
        bound = asyncio.timeout_at(None if math.isinf(deadline) else deadline)
        self._enter(bound)
        try:
            async with bound:
                if deadline <= time.monotonic():
                    raise DeadlineExceededError("the deadline passed before the request arrived")
                yield
        except TimeoutError:
            if not bound.expired():
                raise
            if self._aborted:
                raise DrainingError("the server stopped before the answer was ready") from None
            raise DeadlineExceededError("the deadline passed before the answer was ready") from None
        finally:
            self._leave(bound)

    async def _infer(self, model: ServedModel, call: InferCall, rows: Rows) -> InferAnswer:
        arrival = time.monotonic()
        parts = split_part(rows, model.policy.max_size)
        if len(parts) == 1:
            ran = await model.batcher.run(rows, deadline=call.deadline)
            outputs, inference_s = ran.outputs, ran.inference_s
        else:
            async with asyncio.TaskGroup() as group:
                runs = [group.create_task(model.batcher.run(part, deadline=call.deadline)) for part in parts]
            every = [run.result() for run in runs]
            outputs = {name: np.concatenate([one.outputs[name] for one in every]) for name in rows.outputs}
            inference_s = max(one.inference_s for one in every)
        queue_s = time.monotonic() - arrival - inference_s
        model.meter.inferred(rows.count, queue_s, inference_s)
        return InferAnswer(model.name, model.version, outputs, queue_s, inference_s)

    async def _predict(self, model: ServedModel, call: PredictCall, serialize: Callable[[Answer], T]) -> T:
        arrival = time.monotonic()
        prepared = await self._pixels.run(_prepare, model.pipeline, call.image, self._limits)
        ran = await model.batcher.run(model.image_rows(prepared.row), deadline=call.deadline)
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
    ran: PartOutputs,
    arrival: float,
    serialize: Callable[[Answer], T],
) -> tuple[Answer, T, float]:
    start = time.monotonic()
    result = model.pipeline.postprocess(
        {name: value[0] for name, value in ran.outputs.items()}, prepared.affine, options
    )
    done = time.monotonic()
    worked_s = prepared.decode_s + prepared.preprocess_s + ran.inference_s
    timings = Timings(
        prepared.decode_s, prepared.preprocess_s, start - arrival - worked_s, ran.inference_s, done - start
    )
    answer = Answer(model.name, model.version, prepared.image_hw, result, timings)
    message = serialize(answer)
    return answer, message, time.monotonic() - done
