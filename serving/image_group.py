"""Images that one run thread takes together: decoded into the rows of one batch, run once, finished one by one."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from pipelines.types import AnyArray
from serving.admission import HEADROOM, Place, too_late
from serving.executor import Run
from serving.fairness import FairQueue
from serving.rows import row_of

RunRows: TypeAlias = Callable[[AnyArray, Run], Mapping[str, AnyArray]]
"""Runs rows, batch axis first, and gives the outputs, batch axis first."""


class ImageJob(Protocol):
    """What is done for one image on a run thread."""

    def prepare(self, out: AnyArray | None) -> AnyArray:
        """Decode and preprocess; gives the row, written into ``out`` where one is given."""
        ...

    def finish(self, outputs: Mapping[str, AnyArray], inference_s: float) -> Any:
        """Make the answer of the row's outputs, without batch axis, and of the seconds that its run took."""
        ...


@dataclass(eq=False, slots=True, kw_only=True)
class GroupImage:
    """One image on its way through the run threads.

    Attributes:
        job: its work.
        place: that it holds.
        answer: what its caller awaits; the event loop alone settles it.
        left: nobody waits for it any more.
        group: which took it.
        result: of its job.
        error: why it has none.
    """

    job: ImageJob
    place: Place
    answer: asyncio.Future[Any]
    left: bool = False
    group: Group | None = None
    result: Any = None
    error: BaseException | None = None

    def leave(self) -> None:
        """Nobody waits for it any more: it is not begun, and the run ends that it was the last one to wait for."""
        self.left = True  # before the look at the group: its thread looks the other way round
        if self.group is not None:
            self.group.end_unless_wanted()

    def settle(self, error: BaseException | None) -> None:
        """Give its caller, if it waits, its result or error, or ``error`` where that is one; only once.

        It lets go of all of them: an error's traceback holds the image.
        """
        answer, result, error = self.answer, self.result, error or self.error
        self.group = self.result = self.error = None
        del self.answer
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        elif isinstance(error, asyncio.CancelledError):
            answer.cancel()
        else:
            answer.set_exception(error)


class Group:
    """One turn of a run thread.

    Attributes:
        run: of the group's batch.
        begun: a thread has come to it.
        taken: its images are all there.
        counted: the event loop knows that they are.
        settled: it is over, and takes nothing any more.
        images: that it took.
        ran: those of them that its run held.
    """

    __slots__ = ("begun", "counted", "images", "ran", "run", "settled", "taken")

    def __init__(self) -> None:
        self.run = Run()
        self.begun = self.taken = self.counted = self.settled = False
        self.images: list[GroupImage] = []
        self.ran: list[GroupImage] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for an image that has not failed yet."""
        return any(not image.left and image.error is None for image in self.images)

    def end_unless_wanted(self) -> None:
        """End its run where nobody waits for it any more."""
        if not self.wanted:
            self.run.terminate()


class WaitingImages:
    """Images that wait for a run thread: the event loop adds, run threads take, priorities and clients in turns."""

    def __init__(self, *, most: int, slots: int) -> None:
        """At most ``most`` go together, and ``slots`` threads share them."""
        self._most, self._slots = most, slots
        self._queue: FairQueue[GroupImage] = FairQueue()
        self._count = 0
        self._image_s = self._least_s = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def pace(self, *, image_s: float, least_s: float) -> None:
        """Say what nearly all images take alone, and what the quickest do; seconds, 0 where nothing is known."""
        self._image_s, self._least_s = image_s, least_s

    def add(self, image: GroupImage) -> None:
        """Let an image wait, behind the others of its client."""
        claim = image.place.claim
        with self._lock:
            self._queue.push(image, priority=claim.priority, client=claim.client)
            self._count += 1

    def remove(self, image: GroupImage) -> None:
        """Take an image out, if it is there."""
        claim = image.place.claim
        with self._lock:
            self._count -= self._queue.remove(image, priority=claim.priority, client=claim.client)

    def take(self, group: Group) -> None:
        """Give a group its even share, in turns, and no more than can all be done in time.

        What is too late to begin is in the group with its error, beside its share: while others wait, what may well end
        too late takes the time of one that would not; for the last one the quickest decide.
        """
        with self._lock:
            if group.settled:
                return
            group.begun = True
            most = min(self._most, -(-self._count // self._slots))
            now, end, share = time.monotonic(), math.inf, 0
            while share < most and self._queue:
                image = self._queue.peek()
                deadline = image.place.claim.deadline
                if now > deadline - (self._image_s if self._count > 1 else self._least_s):
                    image.error = too_late()
                elif share and (share + 1) * self._image_s > (min(end, deadline) - now) * HEADROOM:
                    break
                else:
                    end, share = min(end, deadline), share + 1
                group.images.append(self._queue.pop())
                self._count -= 1
            for image in group.images:  # who leaves from here on looks at all of the group
                image.group = group
            group.taken = True

    def settle(self, group: Group) -> list[GroupImage]:
        """End a group; gives the images that it took."""
        with self._lock:
            group.settled = True
            return group.images

    def drain(self) -> list[GroupImage]:
        """Take all out."""
        with self._lock:
            images = list(self._queue)
            self._queue, self._count = FairQueue(), 0
        return images


class GroupWork:
    """The work of groups, on run threads; batches are made once and written anew for each group."""

    def __init__(
        self, run_rows: RunRows, spare: list[AnyArray], *, row_shape: tuple[int, ...] | None, dtype: str
    ) -> None:
        """Work on images.

        Args:
            run_rows: runs the rows of a group.
            spare: where batches lie that no group holds; whoever has it, too, may clear it.
            row_shape: of each image's row, without batch axis; ``None``: each has its own, and goes alone.
            dtype: of the rows.
        """
        self._run_rows, self._spare = run_rows, spare
        self._row_shape, self._dtype = row_shape, dtype

    def do(self, group: Group) -> None:
        """Do everything for the images of a group; each has its result or its error then, or nobody waits for it."""
        try:
            for image in group.images:
                if image.place.claim.begin is not None:
                    image.place.claim.begin()
            if self._row_shape is None:
                self._do(group, None)
                return
            batch = self._batch_of(len(group.images), self._row_shape)
            try:
                self._do(group, batch)
            finally:
                self._spare.append(batch)
        except BaseException as error:  # noqa: BLE001, it is raised where each image is awaited
            for image in group.images:
                image.error = image.error or error

    def _batch_of(self, rows: int, row_shape: tuple[int, ...]) -> AnyArray:
        """One with at least so many rows."""
        try:
            batch = self._spare.pop()
        except IndexError:
            batch = np.empty((rows, *row_shape), self._dtype)
        return batch if len(batch) >= rows else np.empty((rows, *row_shape), self._dtype)

    def _do(self, group: Group, batch: AnyArray | None) -> None:
        for image in group.images:
            if image.left or image.error is not None:
                continue
            row = _prepared(image, None if batch is None else batch[len(group.ran)])
            if row is not None:
                group.ran.append(image)
                batch = row[np.newaxis] if batch is None else batch
        if batch is None or not group.wanted:
            return
        outputs = self._run_rows(batch[: len(group.ran)], group.run)
        for index, image in enumerate(group.ran):
            if not image.left:
                _finish(image, row_of(outputs, index), group.run.seconds)


def _prepared(image: GroupImage, out: AnyArray | None) -> AnyArray | None:
    """The image's row; ``None`` where it has an error now. No more of the group is in that one's traceback."""
    try:
        return image.job.prepare(out)
    except Exception as error:  # noqa: BLE001, it is raised where the image is awaited
        image.error = error
        return None


def _finish(image: GroupImage, outputs: Mapping[str, AnyArray], inference_s: float) -> None:
    try:
        image.result = image.job.finish(outputs, inference_s)
    except Exception as error:  # noqa: BLE001, as above
        image.error = error
