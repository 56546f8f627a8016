"""Serving a cascade: the detector's queue, then all objects of an image into the second model's queue together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from pipelines.image import ImageLimits
from pipelines.loader import Loaded, LoadedCascade
from pipelines.options import PredictOptions
from pipelines.tasks.cascade import CascadePipeline, Crops
from pipelines.types import AnyArray, ByteArray, Detections
from serving.admission import Claim, Place
from serving.batcher import Batcher
from serving.deploy import Deploy
from serving.executor import Executor
from serving.metrics import ModelMeter
from serving.pixels import Answer, Finished, Prepared, Timings
from serving.rows import PartOutputs, Rows, row_of
from serving.served import ServedModel, rows_for
from serving.threads import Threads

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Found:
    """An image's objects as rows of the second model, and the seconds that finding and cutting them took."""

    crops: Crops
    find_s: float
    cut_s: float


@dataclass(frozen=True, slots=True)
class CascadeWork(Generic[T]):
    """What is done for one image on pixel threads.

    Attributes:
        data: encoded image.
        limits: of its decoding.
        options: of the work.
        arrival: monotonic seconds.
        serialize: makes the message.
    """

    data: bytes
    limits: ImageLimits
    options: PredictOptions
    arrival: float
    serialize: Callable[[Answer], T]

    def decode(self, cascade: CascadePipeline) -> tuple[ByteArray, Prepared]:
        """The pixels, which the objects are cut out of, and the detector's row."""
        start = time.monotonic()
        image = cascade.decode(self.data, self.limits)
        decoded = time.monotonic()
        row, affine = cascade.detector.preprocess(image)
        return image, Prepared(row, affine, decoded - start, time.monotonic() - decoded)

    def find(
        self, cascade: CascadePipeline, image: ByteArray, prepared: Prepared, outputs: Mapping[str, AnyArray]
    ) -> _Found:
        """The objects of the detector's raw outputs, cut out."""
        start = time.monotonic()
        detections = cascade.detector.postprocess(outputs, prepared.affine, cascade.detector_options(self.options))
        found = time.monotonic()
        assert isinstance(detections, Detections), "checked when the cascade was loaded"
        crops = cascade.prepare(image, detections)
        return _Found(crops, found - start, time.monotonic() - found)

    def finish(
        self,
        served: ServedCascade,
        prepared: Prepared,
        found: _Found,
        outputs: Sequence[Mapping[str, AnyArray]],
        inference_s: float,
    ) -> Finished[T]:
        """The message and what making it took."""
        start = time.monotonic()
        result = served.cascade.join(found.crops, outputs, self.options)
        done = time.monotonic()
        preprocess_s = prepared.preprocess_s + found.cut_s
        worked_s = prepared.decode_s + preprocess_s + inference_s + found.find_s
        timings = Timings(
            prepared.decode_s,
            preprocess_s,
            start - self.arrival - worked_s,
            inference_s,
            found.find_s + done - start,
        )
        answer = Answer(served.name, served.version, prepared.affine.src_hw, result, timings)
        return Finished(self.serialize(answer), timings, time.monotonic() - done, answer.image_hw)


class ServedCascade(ServedModel):
    """A cascade in its detector's place: what enters, enters the detector's queue; the second model has its own.

    Attributes:
        cascade: joins the two members' pipelines; ``pipeline`` is the detector's.
        second: the second model's queue and runs, for the objects of all requests.
    """

    def __init__(self, loaded: LoadedCascade, deploy: Deploy, meter: ModelMeter, *, cores: int) -> None:
        """As a model's; the deploy file's choices hold for both members."""
        detector = replace(loaded.detector, golden=loaded.golden)
        super().__init__(detector, deploy, meter, cores=cores, identity=loaded.manifest)
        self.cascade = loaded.pipeline
        self._second_session = session = loaded.second.session
        self._second_input = session.inputs[0].name
        self._second_outputs = tuple(spec.name for spec in session.outputs)
        most = loaded.manifest.head.max_objects
        # So many images may have their objects cut out at once: the next ones of each run, and one a pixel thread. The
        # second queue has room for all of these, so no image is refused half-way.
        images = self.policy.slots + cores
        self._cut_out = asyncio.Semaphore(images)
        fixed = session.inputs[0].shape[0]
        row_s = loaded.second.golden.row_s if loaded.second.golden else None
        policy = replace(
            self.policy,
            max_size=fixed if isinstance(fixed, int) else deploy.batching.max_size or rows_for(session, row_s),
            max_queue=images * most,
        )
        self._second_executor = Executor(session, slots=policy.slots, name=f"{self.name}-{self.version}-second")
        self.second = Batcher(self._second_executor, policy, meter=meter, pixel_threads=cores)

    @property
    def has_masks(self) -> bool:
        """Whether answers hold masks, of either model."""
        return self.cascade.has_masks

    @property
    def most_rows(self) -> tuple[int, ...]:
        """Most rows in one run, of the detector and of the second model."""
        return self.policy.max_size, self.second.policy.max_size

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option acts on neither model."""
        self.cascade.check(options)

    def keep_apart(self, *, apart: bool) -> None:
        """Keep the run threads of both models on a core each, or let them run anywhere again."""
        super().keep_apart(apart=apart)
        self._second_executor.keep_apart(apart=apart)

    def abandon(self, error: BaseException) -> int:
        """Fail what is inside either queue; returns how many threads hang in a run."""
        return super().abandon(error) + self._second_executor.abandon(error)

    async def answer(self, work: CascadeWork[T], place: Place, pixels: Threads) -> Finished[T]:
        """The message and what making it took; raises as ``DataPlane.predict``."""
        await self.batcher.admission.turn(place)
        image, prepared = await pixels.run(work.decode, self.cascade)
        ran = await self.batcher.run(self.image_rows(prepared.row), place)
        async with self._cut_out:
            found = await pixels.run(work.find, self.cascade, image, prepared, row_of(ran.outputs, 0))
            del image
            answers = await self._run_objects(found.crops, place.claim)
        inference_s = ran.inference_s + max((each.inference_s for each in answers), default=0.0)
        outputs = [row_of(each.outputs, 0) for each in answers]
        return await pixels.run(work.finish, self, prepared, found, outputs, inference_s)

    async def _run_objects(self, crops: Crops, claim: Claim) -> Sequence[PartOutputs]:
        """Run an image's objects, row by row in the second queue, where they meet those of other images."""
        if not crops.rows:
            return ()
        place = self.second.admission.enter(replace(claim, rows=len(crops.rows), bytes=0, image=False))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.second.run(self._object_rows(row), place)) for row in crops.rows]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self.second.admission.leave(place)
        return [task.result() for task in tasks]

    def _object_rows(self, row: AnyArray) -> Rows:
        return Rows({self._second_input: row[np.newaxis]}, 1, self._second_outputs)

    def __exit__(self, *details: object) -> None:
        self._second_executor.close()
        self._second_session.close()
        super().__exit__(*details)


def serve_loaded(loaded: Loaded, deploy: Deploy, meter: ModelMeter, *, cores: int) -> ServedModel:
    """Serve a package of either kind; a context manager."""
    if isinstance(loaded, LoadedCascade):
        return ServedCascade(loaded, deploy, meter, cores=cores)
    return ServedModel(loaded, deploy, meter, cores=cores)
