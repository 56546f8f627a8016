import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, ImageDecodeError, ModelRunError
from pipelines.types import AnyArray
from serving.admission import HEADROOM, Claim, Place
from serving.executor import Run
from serving.fairness import Priority
from serving.image_group import Group, GroupImage, GroupWork, WaitingImages

SHAPE = (2, 3)


class Doubling:
    """Job of an image whose row is full of one value, and whose answer is twice that."""

    def __init__(self, value: float, *, shape: tuple[int, ...] = SHAPE, bad: bool = False, unfit: bool = False) -> None:
        self.value, self.shape, self.bad, self.unfit = value, shape, bad, unfit
        self.prepared = 0

    def prepare(self, out: AnyArray | None) -> AnyArray:
        self.prepared += 1
        if self.bad:
            raise ImageDecodeError("no image")
        row = np.empty(self.shape, np.float32) if out is None else out
        row[...] = self.value
        return row

    def finish(self, outputs: Mapping[str, AnyArray], inference_s: float) -> float:
        if self.unfit:
            raise ModelRunError("no answer")
        assert outputs["out"].shape == self.shape
        return float(outputs["out"].max())


class Graph:
    """Doubles rows; remembers how many came, and where they lay."""

    def __init__(self) -> None:
        self.batches: list[AnyArray] = []
        self.error: Exception | None = None

    def __call__(self, rows: AnyArray, run: Run) -> Mapping[str, AnyArray]:
        self.batches.append(rows)
        if self.error is not None:
            raise self.error
        return {"out": rows * 2}

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.batches]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def image_of(loop: asyncio.AbstractEventLoop, job: Doubling, **claim: Any) -> GroupImage:
    return GroupImage(job=job, place=Place(Claim(image=True, **claim)), answer=loop.create_future())


def images_of(loop: asyncio.AbstractEventLoop, *values: float) -> list[GroupImage]:
    return [image_of(loop, Doubling(value)) for value in values]


def taken(handed: WaitingImages) -> list[GroupImage]:
    group = Group()
    handed.take(group)
    return group.images


def waiting_of(images: Sequence[GroupImage], *, most: int = 8, slots: int = 1) -> WaitingImages:
    handed = WaitingImages(most=most, slots=slots)
    for image in images:
        handed.add(image)
    return handed


def done(images: Sequence[GroupImage], graph: Graph, *, row_shape: tuple[int, ...] | None = SHAPE) -> Group:
    """A group of all ``images``, its work done."""
    group = Group()
    waiting_of(images).take(group)
    GroupWork(graph, [], row_shape=row_shape, dtype="float32").do(group)
    return group


@pytest.mark.parametrize(
    ("waiting", "most", "slots", "shares"),
    [(1, 8, 2, [1]), (6, 8, 2, [3, 2, 1]), (6, 8, 1, [6]), (9, 4, 1, [4, 4, 1]), (5, 1, 2, [1, 1, 1, 1, 1])],
)
def test_each_thread_takes_its_even_share_of_those_that_wait(
    loop: asyncio.AbstractEventLoop, waiting: int, most: int, slots: int, shares: list[int]
):
    images = images_of(loop, *range(waiting))
    handed = waiting_of(images, most=most, slots=slots)
    groups = []
    while len(handed):
        groups.append(taken(handed))
    assert [len(group) for group in groups] == shares
    assert [image for group in groups for image in group] == images


def test_an_image_that_is_removed_is_not_taken(loop: asyncio.AbstractEventLoop):
    images = images_of(loop, 1, 2, 3)
    handed = waiting_of(images)
    handed.remove(images[1])
    handed.remove(images[1])
    assert len(handed) == 2
    assert taken(handed) == [images[0], images[2]]
    assert taken(handed) == []


def test_high_ones_go_first_and_clients_take_turns(loop: asyncio.AbstractEventLoop):
    hog = [image_of(loop, Doubling(i), client="hog") for i in range(3)]
    guest = image_of(loop, Doubling(3), client="guest")
    high = image_of(loop, Doubling(4), client="hog", priority=Priority.HIGH)
    assert taken(waiting_of([*hog, guest, high])) == [high, hog[0], guest, hog[1], hog[2]]


def test_a_group_grows_only_while_all_of_it_can_be_in_time(loop: asyncio.AbstractEventLoop):
    soon = time.monotonic() + 350 / HEADROOM
    images = [image_of(loop, Doubling(i), deadline=soon) for i in range(5)]
    handed = waiting_of(images)
    handed.pace(image_s=100, least_s=1)
    assert taken(handed) == images[:3]
    assert taken(handed) == images[3:]


def test_an_image_that_cannot_wait_for_others_is_not_joined(loop: asyncio.AbstractEventLoop):
    hurried = image_of(loop, Doubling(0), deadline=time.monotonic() + 150)
    patient = image_of(loop, Doubling(1))
    handed = waiting_of([patient, hurried])
    handed.pace(image_s=100, least_s=1)
    assert taken(handed) == [patient]
    assert taken(handed) == [hurried]


def test_while_others_wait_an_image_begins_only_where_nearly_all_are_in_time(loop: asyncio.AbstractEventLoop):
    soon = time.monotonic() + 50
    first, last = (image_of(loop, Doubling(i), deadline=soon) for i in range(2))
    handed = waiting_of([first, last])
    handed.pace(image_s=100, least_s=1)
    assert taken(handed) == [first, last]
    assert isinstance(first.error, DeadlineExceededError)
    assert last.error is None  # nobody else wants the time


def test_what_is_too_late_is_told_so_and_takes_nobodys_room(loop: asyncio.AbstractEventLoop):
    late = [image_of(loop, Doubling(i), deadline=time.monotonic() - 1) for i in range(3)]
    in_time = images_of(loop, 7, 8)
    group = Group()
    waiting_of([*late, *in_time], most=2).take(group)
    GroupWork(Graph(), [], row_shape=SHAPE, dtype="float32").do(group)
    assert [type(image.error) for image in late] == [DeadlineExceededError] * 3
    assert [image.result for image in in_time] == [14, 16]
    assert all(image.job.prepared == 0 for image in late)  # type: ignore[attr-defined]


def test_work_is_said_to_begin_once_a_thread_has_taken_it(loop: asyncio.AbstractEventLoop):
    begun: list[int] = []
    images = [image_of(loop, Doubling(i), begin=lambda i=i: begun.append(i)) for i in range(3)]
    handed, group = waiting_of(images, most=2), Group()
    handed.take(group)
    assert begun == []
    GroupWork(Graph(), [], row_shape=SHAPE, dtype="float32").do(group)
    assert begun == [0, 1]


def test_a_group_that_was_settled_takes_nothing(loop: asyncio.AbstractEventLoop):
    handed = waiting_of(images_of(loop, 1, 2))
    group = Group()
    assert handed.settle(group) == []
    handed.take(group)
    assert (group.images, len(handed)) == ([], 2)


def test_a_group_runs_once_and_each_image_gets_its_own_row(loop: asyncio.AbstractEventLoop):
    graph, images = Graph(), images_of(loop, 1, 2, 3)
    done(images, graph)
    assert graph.sizes == [3]
    assert [image.result for image in images] == [2, 4, 6]


def test_an_image_that_cannot_be_decoded_fails_alone_and_leaves_no_gap(loop: asyncio.AbstractEventLoop):
    graph, images = Graph(), images_of(loop, 1, 2, 3)
    images.insert(1, image_of(loop, Doubling(9, bad=True)))
    group = done(images, graph)
    assert isinstance(images[1].error, ImageDecodeError)
    assert [image.result for image in group.ran] == [2, 4, 6]
    assert graph.sizes == [3]


def test_where_no_image_can_be_decoded_nothing_runs(loop: asyncio.AbstractEventLoop):
    graph, images = Graph(), [image_of(loop, Doubling(i, bad=True)) for i in range(2)]
    assert not done(images, graph).ran
    assert graph.sizes == []
    assert [type(image.error) for image in images] == [ImageDecodeError] * 2


def test_an_image_that_cannot_be_finished_fails_alone(loop: asyncio.AbstractEventLoop):
    images = [image_of(loop, Doubling(1)), image_of(loop, Doubling(2, unfit=True)), image_of(loop, Doubling(3))]
    done(images, Graph())
    assert [image.result for image in images] == [2, None, 6]
    assert isinstance(images[1].error, ModelRunError)


def test_a_run_that_fails_fails_each_image_in_it_and_no_other(loop: asyncio.AbstractEventLoop):
    graph, images = Graph(), images_of(loop, 1, 2)
    images.append(image_of(loop, Doubling(9, bad=True)))
    graph.error = ModelRunError("the graph failed")
    done(images, graph)
    assert [image.error is graph.error for image in images] == [True, True, False]


def test_memory_that_is_not_there_fails_the_group(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> AnyArray:
        raise MemoryError("no room")

    monkeypatch.setattr(np, "empty", refuse)
    images = images_of(loop, 1, 2)
    done(images, Graph())
    assert [type(image.error) for image in images] == [MemoryError] * 2


def test_a_batch_grows_with_its_group(loop: asyncio.AbstractEventLoop):
    graph = Graph()
    work = GroupWork(graph, [], row_shape=SHAPE, dtype="float32")
    for values in ((1,), (2, 3, 4)):
        group = Group()
        waiting_of(images_of(loop, *values)).take(group)
        work.do(group)
        assert [image.result for image in group.ran] == [2 * value for value in values]


def test_rows_are_written_into_the_batch_that_runs_and_it_is_used_again(loop: asyncio.AbstractEventLoop):
    graph = Graph()
    work = GroupWork(graph, [], row_shape=SHAPE, dtype="float32")
    for values in ((4, 5, 6), (1, 2), (3,)):
        group = Group()
        waiting_of(images_of(loop, *values)).take(group)
        work.do(group)
        assert [image.result for image in group.ran] == [2 * value for value in values]
    first, *others = (rows.__array_interface__["data"][0] for rows in graph.batches)
    assert others == [first, first]


def test_images_whose_rows_have_their_own_shapes_run_by_their_own(loop: asyncio.AbstractEventLoop):
    graph = Graph()
    for shape in ((2, 3), (5, 1)):
        image = image_of(loop, Doubling(4, shape=shape))
        done([image], graph, row_shape=None)
        assert image.result == 8
    assert [rows.shape for rows in graph.batches] == [(1, 2, 3), (1, 5, 1)]


class LeavesWhilePrepared(Doubling):
    """Its callers, and those of other images, leave while it is decoded."""

    def __init__(self, leavers: Sequence[GroupImage]) -> None:
        super().__init__(1)
        self.leavers = leavers

    def prepare(self, out: AnyArray | None) -> AnyArray:
        for image in self.leavers:
            image.leave()
        return super().prepare(out)


def test_who_leaves_before_the_run_is_not_decoded_and_the_others_are_answered(loop: asyncio.AbstractEventLoop):
    second, third = images_of(loop, 2, 3)
    first = image_of(loop, LeavesWhilePrepared([second]))
    graph = Graph()
    group = done([first, second, third], graph)
    assert [image.result for image in (first, second, third)] == [2, None, 6]
    assert second.job.prepared == 0  # type: ignore[attr-defined]
    assert not group.run.terminated


def test_when_all_have_left_nothing_runs(loop: asyncio.AbstractEventLoop):
    (second,) = images_of(loop, 2)
    job = LeavesWhilePrepared([second])
    first = image_of(loop, job)
    job.leavers = [first, second]
    graph = Graph()
    group = done([first, second], graph)
    assert graph.sizes == []
    assert group.run.terminated
