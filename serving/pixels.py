"""What is computed for one image before and after its run, on whatever thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from pipelines.geometry import Affine
from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.tasks import Pipeline
from pipelines.types import AnyArray, Result

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds by stage; ``queue_s`` is all that was waiting: for a thread, for a free run, for the event loop."""

    decode_s: float
    preprocess_s: float
    queue_s: float
    inference_s: float
    postprocess_s: float

    @property
    def worked_s(self) -> float:
        """Seconds of all stages but waiting."""
        return self.decode_s + self.preprocess_s + self.inference_s + self.postprocess_s


@dataclass(frozen=True, eq=False, slots=True)
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


class Finished(NamedTuple, Generic[T]):
    """One image on its way out.

    Attributes:
        message: what the transport sends.
        timings: of the stages up to the result.
        serialize_s: seconds of making the message.
        image_hw: size of the image after its EXIF orientation.
    """

    message: T
    timings: Timings
    serialize_s: float
    image_hw: tuple[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """An image ready to run.

    Attributes:
        row: the model's input, without batch axis.
        affine: where the row shows the image.
        decode_s: seconds.
        preprocess_s: seconds.
    """

    row: AnyArray
    affine: Affine
    decode_s: float
    preprocess_s: float


def prepare(pipeline: Pipeline, data: bytes, limits: ImageLimits, out: AnyArray | None = None) -> Prepared:
    """Decode and preprocess, into ``out`` where it is given; raises ImageDecodeError, ImageTooLargeError."""
    start = time.monotonic()
    image = pipeline.decode(data, limits)
    decoded = time.monotonic()
    row, affine = pipeline.preprocess(image, out)
    return Prepared(row, affine, decoded - start, time.monotonic() - decoded)


@dataclass(frozen=True, slots=True)
class Finisher:
    """Turns the outputs of one image's run into its answer and message.

    Attributes:
        model: name.
        version: of the model.
        pipeline: of the model.
        options: of the request.
        arrival: monotonic seconds.
    """

    model: str
    version: int
    pipeline: Pipeline
    options: PredictOptions
    arrival: float

    def finish(
        self,
        prepared: Prepared,
        outputs: Mapping[str, AnyArray],
        inference_s: float,
        serialize: Callable[[Answer], T],
    ) -> Finished[T]:
        """The message and what making it took; ``outputs`` are without batch axis."""
        start = time.monotonic()
        result = self.pipeline.postprocess(outputs, prepared.affine, self.options)
        done = time.monotonic()
        worked_s = prepared.decode_s + prepared.preprocess_s + inference_s
        timings = Timings(
            prepared.decode_s, prepared.preprocess_s, start - self.arrival - worked_s, inference_s, done - start
        )
        answer = Answer(self.model, self.version, prepared.affine.src_hw, result, timings)
        return Finished(serialize(answer), timings, time.monotonic() - done, answer.image_hw)
