"""One image's way through a model: by one thread, or prepared, run and finished by several."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipelines.image import ImageLimits
from serving.admission import Place, too_late
from serving.executor import Run
from serving.pixels import Answer, Finished, Finisher, prepare
from serving.rows import first_rows
from serving.served import ServedModel
from serving.threads import Threads

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class ImageWork(Generic[T]):
    """What is to be done.

    Attributes:
        image: encoded file.
        limits: of it.
        finisher: makes the answer of the outputs.
        serialize: makes of the answer what the transport sends.
    """

    image: bytes
    limits: ImageLimits
    finisher: Finisher
    serialize: Callable[[Answer], T]

    async def answer(self, model: ServedModel, place: Place, pixels: Threads) -> Finished[T]:
        """The message and what making it took; raises as ``DataPlane.predict``.

        On an idle server each way between threads is a tenth of a small model: one thread does all. Whole images stay
        on one thread under load, too; where tensors wait for a run, such an image's row waits among theirs.
        """
        batcher, whole = model.batcher, model.policy.whole_images
        if not whole and batcher.may_run_alone():
            return await self._by_one_thread(model, place)
        await batcher.admission.turn(place, keeps_window=whole)
        if whole and not batcher.queue_depth:
            return await self._by_one_thread(model, place)
        prepared = await pixels.run(prepare, model.pipeline, self.image, self.limits)
        ran = await batcher.run(model.image_rows(prepared.row), place)
        outputs = first_rows(ran.outputs)
        return await pixels.run(self.finisher.finish, prepared, outputs, ran.inference_s, self.serialize)

    async def _by_one_thread(self, model: ServedModel, place: Place) -> Finished[T]:
        latest = model.batcher.admission.latest_begin(place.claim)

        def job(run: Run) -> Finished[T]:
            if time.monotonic() > latest:  # the image before took longer than it was thought to
                raise too_late()
            prepared = prepare(model.pipeline, self.image, self.limits)
            outputs = model.run_image(prepared.row, run)
            return self.finisher.finish(prepared, outputs, run.seconds, self.serialize)

        return await model.batcher.run_alone(job, place)
