"""Several images of one request: each a call of its own, with a bound on how many are inside at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pipelines.errors import ImageDecodeError, ImageTooLargeError
from serving.dataplane import Answer, DataPlane, PredictCall
from serving.served import ServedModel

T = TypeVar("T")


async def predict_all(
    plane: DataPlane, served: ServedModel, calls: Sequence[PredictCall], serialize: Callable[[Answer], T]
) -> list[T]:
    """Answers in the order of ``calls``, all by ``served``; as many are inside at once as it runs at once.

    A reload in between changes nothing: the model that was found for the first image answers the last one. The first
    error ends the rest. Raises as ``DataPlane.predict_on``; of several images, the error names the bad one.
    """
    if len(calls) == 1:
        return [await plane.predict_on(served, calls[0], serialize)]
    room = asyncio.Semaphore(served.policy.slots * served.most_rows[0])

    async def answer(index: int) -> T:
        async with room:
            try:
                return await plane.predict_on(served, calls[index], serialize)
            except (ImageDecodeError, ImageTooLargeError) as error:
                raise type(error)(f"image {index} of {len(calls)}: {error}") from error

    with served.hold():
        return await _all([answer(index) for index in range(len(calls))])


async def _all(work: list[Any]) -> list[Any]:
    """Await everything; the first error ends the rest and is raised itself."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
