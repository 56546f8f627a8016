"""A large image in tiles: decoded once, its tiles through the same queue as any image, some of them at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pipelines.errors import InvalidRequestError, OverloadedError
from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.tile_options import TileOptions
from pipelines.tiles import Tiling, Window
from pipelines.types import ByteArray
from serving.admission import Claim, Place
from serving.pixels import Answer, Prepared, Timings
from serving.rows import PartOutputs, row_of
from serving.served import ServedModel
from serving.threads import Threads
from serving.trail import current_trail

T = TypeVar("T")
Enter = Callable[[ServedModel, Claim], AbstractAsyncContextManager[Place]]
"""Holds a place in a model until the deadline; see ``DataPlane``."""


@dataclass(frozen=True, eq=False, slots=True)
class TileAnswer:
    """The answer of one tile, or of all of them together.

    Attributes:
        index: of the tile in the plan; ``count`` for all of them.
        count: of the tiles.
        window: that the answer is of.
        merged: whether it is that of all of them; it comes last.
        answer: in pixels of the whole image; a tile's segmentation is a map of its window. Its timings: a tile bears an
            even share of the decoding, and all together bear the sums.
    """

    index: int
    count: int
    window: Window
    merged: bool
    answer: Answer


@dataclass(frozen=True, eq=False, slots=True)
class TilesWork(Generic[T]):
    """One image to be answered in tiles.

    Attributes:
        data: encoded image.
        options: of the request.
        tiles: how it is cut and joined.
        claim: of the request, its priority, deadline and client; each tile's is like it.
        serialize: makes a message of an answer, on a pixel thread.
        send: hands a message on; the tile's turn is over when it returns, so a slow reader slows the work down.
    """

    data: bytes
    options: PredictOptions
    tiles: TileOptions
    claim: Claim
    serialize: Callable[[TileAnswer], T]
    send: Callable[[T], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Part:
    """One tile of the plan for an image of ``image_hw``; ``decode_s`` is its share of the decoding."""

    index: int
    count: int
    window: Window
    image_hw: tuple[int, int]
    decode_s: float


class TiledImage(Generic[T]):
    """One such image on its way through one model."""

    def __init__(
        self, model: ServedModel, work: TilesWork[T], *, enter: Enter, pixels: Threads, limits: ImageLimits
    ) -> None:
        """Raises InvalidRequestError where the model cannot answer in tiles, or an option does not act on it."""
        work.tiles.check_for(model.task)  # of a cascade, whose pipeline is its detector's
        if model.policy.capacity < 2:  # one for the image, one for a tile
            raise InvalidRequestError(
                f"tiles need room for two requests, [batching] of {model.name} leaves room for one"
            )
        self._tiling = Tiling(model.pipeline, work.tiles, work.options)
        self._model, self._work = model, work
        self._enter, self._pixels, self._limits = enter, pixels, limits
        # As many as keep each run's next batch full, and one in each pixel thread.
        self._most = model.policy.slots * model.policy.max_size + model.policy.slots

    async def answer(self) -> None:
        """Send each tile's answer as it is ready, then the merged one.

        The whole holds a place of its own beside those of its tiles, so the server knows that it is inside. A tile that
        finds the queue full comes again: what was let in is not refused half-way, unless its deadline comes first.
        Cancelled, or where one tile fails, no further tile begins and those that wait are taken out of the queue.
        """
        async with self._enter(self._model, self._work.claim) as place:
            admission = self._model.batcher.admission
            await admission.turn(place)
            image, parts = await self._pixels.run(self._decode)
            admission.started(place, 1)  # it waits no more: its tiles have places of their own
            admission.ended(place, 1)
            answers = await self._all_parts(image, parts)
            del image
            await self._work.send(await self._pixels.run(self._merge, answers, parts))

    async def _all_parts(self, image: ByteArray, parts: Sequence[_Part]) -> list[Answer]:
        room = asyncio.Semaphore(self._most)
        finished: asyncio.Queue[T] = asyncio.Queue()
        answers: dict[int, Answer] = {}

        async def answer(part: _Part) -> None:
            answers[part.index], message = await self._part(image, part)
            finished.put_nowait(message)

        async def begin_each(tasks: asyncio.TaskGroup) -> None:
            for part in parts:
                await room.acquire()
                tasks.create_task(answer(part))

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(begin_each(tasks))
                for _ in parts:
                    await self._work.send(await finished.get())
                    room.release()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [answers[part.index] for part in parts]

    async def _part(self, image: ByteArray, part: _Part) -> tuple[Answer, T]:
        while True:
            try:
                return await self._part_once(image, part)
            except OverloadedError as error:
                if error.reason == "deadline":
                    raise
                await asyncio.sleep(error.retry_after_s)

    async def _part_once(self, image: ByteArray, part: _Part) -> tuple[Answer, T]:
        model = self._model
        async with self._enter(model, replace(self._work.claim, bytes=0)) as place:
            arrival = time.monotonic()
            await model.batcher.admission.turn(place)
            prepared = await self._pixels.run(self._cut, image, part)
            ran = await model.batcher.run(model.image_rows(prepared.row), place)
            answer, message, serialize_s = await self._pixels.run(self._finish, part, prepared, ran, arrival)
        timings = answer.timings
        here_s = timings.worked_s - timings.decode_s + serialize_s  # its share of the decoding came before
        stages = (
            timings.decode_s,
            timings.preprocess_s,
            time.monotonic() - arrival - here_s,
            timings.inference_s,
            timings.postprocess_s,
            serialize_s,
        )
        model.meter.stages(*stages)
        if trail := current_trail():
            trail.answered(stages, part.image_hw)
        return answer, message

    def _decode(self) -> tuple[ByteArray, tuple[_Part, ...]]:
        """The pixels, and where their tiles lie."""
        start = time.monotonic()
        image = self._model.pipeline.decode(self._work.data, self._limits)
        decode_s = time.monotonic() - start
        image_hw = (image.shape[0], image.shape[1])
        windows = self._tiling.plan(image_hw)
        parts = tuple(
            _Part(index, len(windows), window, image_hw, decode_s / len(windows))
            for index, window in enumerate(windows)
        )
        return image, parts

    def _cut(self, image: ByteArray, part: _Part) -> Prepared:
        start = time.monotonic()
        row, affine = self._model.pipeline.preprocess(part.window.cut(image))
        return Prepared(row, affine, part.decode_s, time.monotonic() - start)

    def _finish(self, part: _Part, prepared: Prepared, ran: PartOutputs, arrival: float) -> tuple[Answer, T, float]:
        """A tile's answer, its message, and the seconds of making that."""
        start = time.monotonic()
        result = self._model.pipeline.postprocess(row_of(ran.outputs, 0), prepared.affine, self._work.options)
        placed = self._tiling.place(result, part.window)
        done = time.monotonic()
        queue_s = start - arrival - prepared.preprocess_s - ran.inference_s
        timings = Timings(prepared.decode_s, prepared.preprocess_s, queue_s, ran.inference_s, done - start)
        answer = Answer(self._model.name, self._model.version, part.image_hw, placed, timings)
        message = self._work.serialize(TileAnswer(part.index, part.count, part.window, False, answer))
        return answer, message, time.monotonic() - done

    def _merge(self, answers: Sequence[Answer], parts: Sequence[_Part]) -> T:
        start = time.monotonic()
        height, width = image_hw = parts[0].image_hw
        merged = self._tiling.merge([each.result for each in answers], [part.window for part in parts], image_hw)
        spent = [each.timings for each in answers]
        timings = Timings(
            decode_s=sum(each.decode_s for each in spent),
            preprocess_s=sum(each.preprocess_s for each in spent),
            queue_s=sum(each.queue_s for each in spent),
            inference_s=sum(each.inference_s for each in spent),
            postprocess_s=sum(each.postprocess_s for each in spent) + time.monotonic() - start,
        )
        answer = Answer(self._model.name, self._model.version, image_hw, merged, timings)
        count = len(parts)
        return self._work.serialize(TileAnswer(count, count, Window(0, 0, width, height), True, answer))
