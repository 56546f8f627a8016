"""What runs a job's model: in this process, or on a server; a job sees no difference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from pipelines.errors import ImageDecodeError, ImageTooLargeError, InvalidRequestError
from pipelines.types import ByteArray, Result
from serving.batch.errors import JobError

T = TypeVar("T")
Finish = Callable[[Result, tuple[int, int], float], T]
# What is surely the image's own, whatever ran beside it.
IMAGE_FAULTS = (ImageDecodeError, ImageTooLargeError, InvalidRequestError)


class Described(Protocol):
    """What a job must know of its model.

    Attributes:
        model: name of the model.
        version: of the model.
        task: of its head.
        labels: class names by index.
        manifest_json: of its package.
    """

    model: str
    version: int
    task: str
    labels: tuple[str, ...]
    manifest_json: str


class Engine(Described, Protocol):
    """One model that answers.

    Attributes:
        concurrency: images to give it at once, so that it never waits and never refuses.
        package: folder of the package where it runs in this process, which may die of an image; else ``None``.
    """

    concurrency: int
    package: Path | None

    async def answer(self, data: bytes, finish: Finish[T]) -> T:
        """Run the model on one encoded image; ``finish`` gets result, image size and seconds of work, on a thread.

        Raises one of ``IMAGE_FAULTS`` where the image is at fault, JobError where the job cannot go on; any other
        error may be that of an image that ran in the same batch.
        """
        ...

    def decode(self, data: bytes) -> ByteArray:
        """The ``(H, W, 3)`` uint8 RGB pixels that results refer to."""
        ...


EngineContext = AbstractAsyncContextManager[Engine]


def is_clear(error: Exception) -> bool:
    """Whether an error needs no second try to know whose it is."""
    return isinstance(error, (*IMAGE_FAULTS, JobError))
