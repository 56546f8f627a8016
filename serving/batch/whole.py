"""Answers one image on one thread, from its bytes to what is kept of it: no way between threads, and no queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from serving.executor import Run
from serving.pixels import Answer, Finisher, prepare
from serving.served import ServedModel
from serving.threads import Threads

T = TypeVar("T")


class WholeImages:
    """One model's threads, one for each run at once; made inside the loop that it answers to."""

    def __init__(self, served: ServedModel, options: PredictOptions) -> None:
        self._served, self._options = served, options
        self._threads = Threads(served.policy.slots, name="images")

    async def __call__(self, data: bytes, serialize: Callable[[Answer], T]) -> T:
        """Answer an encoded image, as ``DataPlane.predict`` does."""
        return await self._threads.run(self._answer, data, serialize)

    def close(self) -> None:
        """Begin no further image."""
        self._threads.close()

    def _answer(self, data: bytes, serialize: Callable[[Answer], T]) -> T:
        served, run = self._served, Run()
        finisher = Finisher(served.name, served.version, served.pipeline, self._options, time.monotonic())
        prepared = prepare(served.pipeline, data, ImageLimits())
        outputs = served.run_image(prepared.row, run)
        return finisher.finish(prepared, outputs, run.seconds, serialize).message
