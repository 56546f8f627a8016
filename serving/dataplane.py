"""What the server does, whatever the transport: predict, list, describe."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.tile_options import TileOptions
from pipelines.types import AnyArray
from serving.admission import Claim, Place
from serving.batcher import Batcher
from serving.cascade import CascadeWork, ServedCascade
from serving.catalog import Catalog, ModelStatus
from serving.fairness import Priority
from serving.image_work import ImageWork
from serving.inside import Inside, Stay
from serving.pixels import Answer, Finisher, Timings
from serving.rows import Rows, split_part
from serving.served import ServedModel
from serving.threads import Threads
from serving.tiles import TileAnswer, TiledImage, TilesWork
from serving.trail import current_trail

__all__ = [
    "NO_OPTIONS",
    "Answer",
    "DataPlane",
    "Description",
    "InferAnswer",
    "InferCall",
    "PredictCall",
    "Priority",
    "Timings",
]

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
        priority: before or after whom it goes.
        client: who asks, so that clients share the model evenly; any text, such as gRPC's peer.
        begin: called when the work begins: until then the caller may still think better of it at no cost.
    """

    model: str
    image: bytes
    version: int = 0
    options: PredictOptions = NO_OPTIONS
    deadline: float = math.inf
    priority: Priority = Priority.NORMAL
    client: str = ""
    begin: Callable[[], None] | None = None


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
class Description:
    """What a model version is and how it is run; ``golden`` is what its replay at load proved."""

    model: str
    version: int
    manifest_json: str
    provider: str
    max_batch: int
    golden: str


class DataPlane:
    """The one thing that transports call; it belongs to one event loop, and computes on ``pixels`` alone."""

    def __init__(self, catalog: Catalog, pixels: Threads, limits: ImageLimits, *, longest_s: float = math.inf) -> None:
        """Build it.

        Args:
            catalog: the models.
            pixels: threads for decoding, pre- and post-processing of all models.
            limits: of one image.
            longest_s: that an image, or tensors, may be inside.
        """
        self._catalog = catalog
        self._pixels = pixels
        self._limits = limits
        self._inside = Inside(longest_s=longest_s)

    async def predict(self, call: PredictCall, serialize: Callable[[Answer], T]) -> T:
        """Answer one image; ``serialize`` makes of the answer what the transport sends, on a thread.

        Raises UnknownModelError, ModelNotReadyError, DrainingError, InvalidRequestError, OverloadedError,
        ImageDecodeError, ImageTooLargeError, DeadlineExceededError, and whatever a faulty model raises.
        """
        return await self.predict_on(self._catalog.find(call.model, call.version), call, serialize)

    async def predict_on(self, model: ServedModel, call: PredictCall, serialize: Callable[[Answer], T]) -> T:
        """As ``predict``, by a model found before; held (``ServedModel.hold``) where the caller waited since."""
        model.check(call.options)
        async with self._enter(model, _claim(call)) as place:
            arrival = time.monotonic()
            if isinstance(model, ServedCascade):
                cascade = CascadeWork(call.image, self._limits, call.options, arrival, serialize)
                finished = await model.answer(cascade, place, self._pixels)
            else:
                finisher = Finisher(model.name, model.version, model.pipeline, call.options, arrival)
                finished = await ImageWork(call.image, self._limits, finisher, serialize).answer(
                    model, place, self._pixels
                )
        message, timings, serialize_s, image_hw = finished
        model.batcher.times.pixels(
            prepare_s=timings.decode_s + timings.preprocess_s, finish_s=timings.postprocess_s + serialize_s
        )
        worked_s = timings.worked_s + serialize_s
        stages = (
            timings.decode_s,
            timings.preprocess_s,
            time.monotonic() - arrival - worked_s,  # all waiting, the message's way back to the event loop included
            timings.inference_s,
            timings.postprocess_s,
            serialize_s,
        )
        model.meter.stages(*stages)
        if trail := current_trail():
            trail.answered(stages, image_hw)
        return message

    async def predict_tiles(
        self,
        call: PredictCall,
        tiles: TileOptions,
        serialize: Callable[[TileAnswer], T],
        send: Callable[[T], Awaitable[None]],
    ) -> None:
        """Answer one large image in tiles: each tile's answer as it is ready, the merged one last (``serving.tiles``).

        Raises as ``predict``.
        """
        model = self._catalog.find(call.model, call.version)
        work = TilesWork(call.image, call.options, tiles, _claim(call), serialize, send)
        image = TiledImage(model, work, enter=self._enter, pixels=self._pixels, limits=self._limits)
        await image.answer()

    async def infer(self, call: InferCall) -> InferAnswer:
        """Run the graph itself; rows batch with those of other requests.

        Raises UnknownModelError, ModelNotReadyError, DrainingError, InvalidRequestError, OverloadedError,
        DeadlineExceededError, and whatever a faulty model raises.
        """
        model = self._catalog.find(call.model, call.version)
        rows = model.contract.rows(call.tensors, call.outputs)
        claim = Claim(
            rows=rows.count,
            bytes=sum(value.nbytes for value in rows.feeds.values()),
            deadline=call.deadline,
            priority=call.priority,
            client=call.client,
        )
        async with self._enter(model, claim) as place:
            arrival = time.monotonic()
            if rows.count <= model.policy.max_size:
                ran = await model.batcher.run(rows, place)
                outputs, inference_s = ran.outputs, ran.inference_s
            else:
                outputs, inference_s = await _run_in_parts(model.batcher, rows, place)
        queue_s = time.monotonic() - arrival - inference_s
        model.meter.inferred(rows.count, queue_s, inference_s)
        if trail := current_trail():
            trail.inferred(queue_s, inference_s)
        return InferAnswer(model.name, model.version, outputs, queue_s, inference_s)

    def _enter(self, model: ServedModel, claim: Claim) -> Stay:
        """Hold a place in a model, until the deadline or an abort."""
        return self._inside.enter(model.batcher.admission, claim)

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
        await self._inside.wait_empty()

    def abort(self) -> None:
        """End every request inside with DrainingError."""
        self._inside.abort()


def _claim(call: PredictCall) -> Claim:
    return Claim(
        bytes=len(call.image),
        image=True,
        deadline=call.deadline,
        priority=call.priority,
        client=call.client,
        begin=call.begin,
    )


async def _run_in_parts(batcher: Batcher, rows: Rows, place: Place) -> tuple[dict[str, AnyArray], float]:
    """Outputs of all rows in their order, and the seconds of the longest run."""
    parts = split_part(rows, batcher.policy.max_size)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(batcher.run(part, place)) for part in parts]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    answers = [task.result() for task in tasks]
    outputs = {name: np.concatenate([one.outputs[name] for one in answers]) for name in rows.outputs}
    return outputs, max(one.inference_s for one in answers)
