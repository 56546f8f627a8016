"""Images that one run thread takes together: decoded into the rows of one batch, run once, finished one by one."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from pipelines.types import AnyArray
from serving.admission import Place, too_late
from serving.executor import Run
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
    """One image that was handed over to the run threads.

    Attributes:
        job: its work.
        place: that it holds.
        answer: what its caller awaits; the event loop alone settles it.
        latest: when its work must begin, alone, to end in time; monotonic seconds.
        image_s: seconds that nearly all images take alone.
        left: nobody waits for it any more.
        group: which took it.
        result: of its job.
        error: why it has none.
    """

    job: ImageJob
    place: Place
    answer: asyncio.Future[Any]
    latest: float
    image_s: float
    left: bool = False
    group: Group | None = None
    result: Any = None
    error: Exception | None = None

    def leave(self) -> None:
        """Nobody waits for it any more: it is not begun, and the run ends that it was the last one to wait for."""
        self.left = True  # before the look at the group: its thread looks the other way round
        if self.group is not None:
            self.group.end_unless_wanted()

    def settle(self, error: BaseException | None) -> None:
        """Give its caller, if it waits, its result or error, or ``error`` where that is one; only once.

        It lets go of all three: an error's traceback holds the image.
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
        images: that it took.
        ran: those of them that its run held.
    """

    __slots__ = ("begun", "images", "ran", "run")

    def __init__(self) -> None:
        self.run = Run()
        self.begun = False
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


class HandedOver:
    """Images that wait for a run thread, in their order; the event loop adds, run threads take."""

    def __init__(self, *, most: int, slots: int) -> None:
        """At most ``most`` go together, and ``slots`` threads share them."""
        self._most, self._slots = most, slots
        self._images: deque[GroupImage] = deque()
        self._one_takes = threading.Lock()

    def __len__(self) -> int:
        return len(self._images)

    def add(self, image: GroupImage) -> None:
        """Let an image wait."""
        self._images.append(image)

    def take(self, group: Group) -> None:
        """Give a group its even share, in their order, and no more than can all be done in time.

        What nobody waits for is dropped; what is too late to begin is in the group with its error, beside its share.
        """
        group.begun = True
        taken: list[GroupImage] = []
        with self._one_takes:
            now, latest, share = time.monotonic(), math.inf, 0
            most = min(self._most, -(-len(self._images) // self._slots))
            while self._images and share < most:
                image = self._images[0]
                if image.left:
                    self._images.popleft()
                    continue
                if now > image.latest:  # those before took longer than they were thought to
                    image.error = too_late()
                else:
                    latest = min(latest, image.latest)
                    if now + share * image.image_s > latest:
                        break
                    share += 1
                taken.append(self._images.popleft())
        group.images = taken
        for image in taken:  # who leaves from here on looks at all of the group
            image.group = group

    def drain(self) -> list[GroupImage]:
        """Take all out, on the event loop."""
        with self._one_takes:
            images = list(self._images)
            self._images.clear()
        return images


class GroupWork:
    """The work of groups, on run threads; batches are made once and written anew for each group."""

    def __init__(self, run_rows: RunRows, *, row_shape: tuple[int, ...] | None, dtype: str, most: int) -> None:
        """``row_shape``: of each image's row, without batch axis; ``None``: each has its own, and ``most`` is 1."""
        self._run_rows = run_rows
        self._batch_shape = None if row_shape is None else (most, *row_shape)
        self._dtype = dtype
        self._batches: list[AnyArray] = []  # those that no thread holds

    def do(self, group: Group) -> None:
        """Do everything for the images of a group; each has its result or its error then, or nobody waits for it."""
        if self._batch_shape is None:
            self._do(group, None)
            return
        try:
            batch = self._batches.pop()
        except IndexError:
            batch = np.empty(self._batch_shape, self._dtype)
        try:
            self._do(group, batch)
        finally:
            self._batches.append(batch)

    def _do(self, group: Group, batch: AnyArray | None) -> None:
        for image in group.images:
            if image.left or image.error is not None:
                continue
            try:
                row = image.job.prepare(None if batch is None else batch[len(group.ran)])
            except Exception as error:  # noqa: BLE001, it is raised where the image is awaited
                image.error = error
                continue
            group.ran.append(image)
            if batch is None:
                batch = row[np.newaxis]
        if batch is not None and group.wanted:
            self._run(group, batch[: len(group.ran)])

    def _run(self, group: Group, rows: AnyArray) -> None:
        try:
            outputs = self._run_rows(rows, group.run)
        except Exception as error:  # noqa: BLE001, as above
            for image in group.ran:
                image.error = error
            return
        for index, image in enumerate(group.ran):
            if image.left:
                continue
            try:
                image.result = image.job.finish(row_of(outputs, index), group.run.seconds)
            except Exception as error:  # noqa: BLE001, as above
                image.error = error
