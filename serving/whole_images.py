"""Whole images of one model version: from their bytes to their answers on run threads, by groups."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol, TypeVar

from serving.admission import Place
from serving.batcher import Batcher
from serving.image_group import Group, GroupImage, GroupWork, HandedOver, ImageJob

T_co = TypeVar("T_co", covariant=True)


class Job(ImageJob, Protocol[T_co]):
    """An image's work whose answer is a ``T_co``."""


class WholeImages:
    """Hands images over to the run threads of a batcher, whose slots they hold; it belongs to its event loop.

    A run thread takes an even share of the images that wait, so a group forms only while all of them are busy. As many
    groups again as run at once are handed over ahead: a thread takes its next one without waiting for the loop.
    """

    def __init__(self, batcher: Batcher, work: GroupWork) -> None:
        policy = batcher.policy
        self._batcher, self._work = batcher, work
        self._groups: set[Group] = set()
        self._most_groups = 2 * policy.slots
        self._images = HandedOver(most=max(1, policy.group_size), slots=policy.slots)

    async def answer(self, job: Job[T_co], place: Place) -> T_co:
        """Do an image's work; raises what its job raises, or its group's run.

        Only while ``Batcher.is_idle``, or in a place that keeps the window. An image that a caller leaves is not begun;
        the last one that leaves a run ends it. DeadlineExceededError where too little time is left.
        """
        batcher = self._batcher
        latest, image_s = batcher.admission.latest_begin(place.claim), batcher.times.reliable_image_s
        answer: asyncio.Future[T_co] = asyncio.get_running_loop().create_future()
        image = GroupImage(job=job, place=place, answer=answer, latest=latest, image_s=image_s)
        batcher.admission.started(place, 1)
        if place.claim.begin is not None:
            place.claim.begin()
        self._images.add(image)
        try:
            self._hand_over()
            return await answer
        except BaseException:
            image.leave()
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen: it came in the same turn of the loop as a cancellation
            raise
        finally:
            del answer, image  # an error's traceback holds this frame, and they hold the error

    def _hand_over(self) -> None:
        """Let one more thread take what waits, where not enough are on their way to it."""
        coming = sum(not group.begun for group in self._groups)
        if coming < len(self._images) and len(self._groups) < self._most_groups:
            group = Group()
            done = self._batcher.hold_slot(partial(self._take, group), group.run)
            self._groups.add(group)
            done.add_done_callback(partial(self._settle, group))

    def _take(self, group: Group, _: object) -> None:
        self._images.take(group)
        self._work.do(group)

    def _settle(self, group: Group, done: asyncio.Future[None]) -> None:
        self._groups.discard(group)
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        rows = len(group.ran)
        if rows:
            gone = sum(image.answer.done() for image in group.ran)
            failed = error is not None or all(image.error is not None for image in group.ran)
            self._batcher.count(group.run, rows, wasted_share=gone / rows, failed=failed)
        for image in group.images:
            self._batcher.admission.ended(image.place, 1)
            image.settle(error)
        group.images, group.ran = [], []  # an error's traceback holds the group
        if error is None:
            try:
                self._hand_over()
            except RuntimeError as closed:
                error = closed
        if error is not None:  # the threads do nothing more
            for image in self._images.drain():
                image.settle(error)
