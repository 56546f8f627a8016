"""Answers images on run threads, from their bytes to what is kept of them: no queue, no way between threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from serving.admission import Claim
from serving.image_work import ImageOnThread, ImageWork
from serving.pixels import Answer, Finisher
from serving.served import ServedModel

T = TypeVar("T")
_CLAIM = Claim(image=True)


class OnRunThreads:
    """A model whose ``group_size`` is not 0; see ``serving.whole_images``.

    Attributes:
        concurrency: images to be asked for at once: a group for each thread, and one behind it which the thread takes
            without waiting for the loop.
    """

    def __init__(self, served: ServedModel, options: PredictOptions) -> None:
        policy = served.policy
        self.concurrency = min(2 * policy.slots * policy.group_size, policy.capacity)
        self._served, self._options = served, options

    async def __call__(self, data: bytes, serialize: Callable[[Answer], T]) -> T:
        """Answer an encoded image, as ``DataPlane.predict`` does."""
        served, admission = self._served, self._served.batcher.admission
        finisher = Finisher(served.name, served.version, served.pipeline, self._options, time.monotonic())
        job = ImageOnThread(ImageWork(data, ImageLimits(), finisher, serialize), served.pipeline)
        place = admission.enter(_CLAIM)
        try:
            return (await served.whole_images.answer(job, place)).message
        finally:
            admission.leave(place)
