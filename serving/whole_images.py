"""Whole images of one model version: from their bytes to their answers on run threads, by groups."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Protocol, TypeVar

from serving.admission import Place
from serving.batcher import Batcher
from serving.image_group import Group, GroupImage, GroupWork, ImageJob, WaitingImages

T_co = TypeVar("T_co", covariant=True)


class Job(ImageJob, Protocol[T_co]):
    """An image's work whose answer is a ``T_co``."""


class WholeImages:
    """The images that wait for a batcher's run threads, whose slots their groups hold; it belongs to its event loop.

    A run thread takes an even share of the images that wait, so a group forms only while all of them are busy. As many
    groups again as run at once are asked for ahead: a thread takes its next one without waiting for the loop. While
    tensors wait, groups of images and batches of their rows take turns.
    """

    def __init__(self, batcher: Batcher, work: GroupWork) -> None:
        policy = batcher.policy
        self._batcher, self._work = batcher, work
        self._loop = asyncio.get_running_loop()
        self._groups: set[Group] = set()
        self._images = WaitingImages(most=max(1, policy.group_size), slots=policy.slots)

    def __len__(self) -> int:
        """Images that wait."""
        return len(self._images)

    async def answer(self, job: Job[T_co], place: Place) -> T_co:
        """Do an image's work; raises what its job raises, or its group's run.

        DeadlineExceededError where too little time is left when its turn comes. An image whose caller leaves is not
        begun; the last one that leaves a run ends it.
        """
        answer: asyncio.Future[T_co] = self._loop.create_future()
        image = GroupImage(job=job, place=place, answer=answer)
        place.waiter = answer
        if place.claim.deadline < math.inf:
            self._say_pace()
        self._images.add(image)
        try:
            self._ask_threads()
            return await answer
        except BaseException:
            image.leave()
            self._images.remove(image)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen: it came in the same turn of the loop as a cancellation
            raise
        finally:
            del answer, image  # an error's traceback holds this frame, and they hold the error

    def _say_pace(self) -> None:
        times = self._batcher.times
        fresh = times.is_fresh(self._loop.time())
        self._images.pace(
            image_s=times.reliable_image_s if fresh else 0.0,
            least_s=times.least_s(1, image=True) if fresh else 0.0,
        )

    def _ask_threads(self) -> None:
        """Let one more thread take what waits, where not enough are on their way to it."""
        for group in self._groups:
            self._count_taken(group)
        # Before the groups: where a thread takes in between, one is asked too often and none too seldom.
        waiting = len(self._images)
        coming = sum(not group.begun for group in self._groups)
        slots = self._batcher.policy.slots
        most = slots if self._batcher.queue_depth else 2 * slots
        if coming < waiting and len(self._groups) < most:
            group = Group()
            done = self._batcher.hold_slot(partial(self._take, group), group.run)
            self._groups.add(group)
            done.add_done_callback(partial(self._settle, group))

    def _take(self, group: Group, _: object) -> None:
        self._images.take(group)
        self._work.do(group)

    def _count_taken(self, group: Group) -> None:
        """Count its images as running, once their thread has taken them."""
        if group.counted or not group.taken:
            return
        group.counted = True
        for image in group.images:
            if not image.left:
                image.place.waiter = None
                self._batcher.admission.started(image.place, 1)

    def _settle(self, group: Group, done: asyncio.Future[None]) -> None:
        self._groups.discard(group)
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        images = self._images.settle(group)
        self._count_taken(group)
        if rows := len(group.ran):
            gone = sum(image.answer.done() for image in group.ran)
            failed = error is not None or all(image.error is not None for image in group.ran)
            self._batcher.count(group.run, rows, wasted_share=gone / rows, failed=failed)
        for image in images:
            self._batcher.admission.ended(image.place, 1)
            image.settle(error)
        group.images, group.ran = [], []  # an error's traceback holds the group
        if error is not None:  # its executor's own, which does nothing more
            self._fail_all(error)
        elif self._batcher.queue_depth:
            self._loop.call_soon(self._ask_again)  # the slot goes to tensors first
        else:
            self._ask_again()

    def _ask_again(self) -> None:
        try:
            self._ask_threads()
        except RuntimeError as closed:
            self._fail_all(closed)

    def _fail_all(self, error: BaseException) -> None:
        for image in self._images.drain():
            image.settle(error)
