"""One image's way through a model: by one thread, or prepared, run and finished by several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipelines.image import ImageLimits
from pipelines.tasks import Pipeline
from pipelines.types import AnyArray
from serving.admission import Place
from serving.pixels import Answer, Finished, Finisher, Prepared, prepare
from serving.rows import row_of
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

        Each way between threads is a tenth of a small model: where images do not wait for others' rows, and on an idle
        server, a run thread does all.
        """
        batcher, job = model.batcher, ImageOnThread(self, model.pipeline)
        if model.policy.group_size or batcher.is_idle:
            return await model.whole_images.answer(job, place)
        await batcher.admission.turn(place)
        row = await pixels.run(job.prepare)
        ran = await batcher.run(model.image_rows(row), place)
        return await pixels.run(job.finish, row_of(ran.outputs, 0), ran.inference_s)


class ImageOnThread(Generic[T]):
    """One image's work before and after its run; see ``serving.image_group.ImageJob``."""

    __slots__ = ("_pipeline", "_prepared", "_work")

    def __init__(self, work: ImageWork[T], pipeline: Pipeline) -> None:
        self._work, self._pipeline = work, pipeline
        self._prepared: Prepared | None = None

    def prepare(self, out: AnyArray | None = None) -> AnyArray:
        """Decode and preprocess; gives the row, written into ``out`` where one is given."""
        self._prepared = prepare(self._pipeline, self._work.image, self._work.limits, out)
        return self._prepared.row

    def finish(self, outputs: Mapping[str, AnyArray], inference_s: float) -> Finished[T]:
        """The message and what making it took; ``outputs`` are without batch axis."""
        assert self._prepared is not None, "prepared before its run"
        return self._work.finisher.finish(self._prepared, outputs, inference_s, self._work.serialize)
