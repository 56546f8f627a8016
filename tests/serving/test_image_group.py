import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, ImageDecodeError, ModelRunError
from pipelines.types import AnyArray
from serving.admission import Claim, Place
from serving.executor import Run
from serving.image_group import Group, GroupImage, GroupWork, HandedOver

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


def image_of(
    loop: asyncio.AbstractEventLoop, job: Doubling, *, latest: float = math.inf, image_s: float = 0
) -> GroupImage:
    return GroupImage(job=job, place=Place(Claim()), answer=loop.create_future(), latest=latest, image_s=image_s)


def images_of(loop: asyncio.AbstractEventLoop, *values: float) -> list[GroupImage]:
    return [image_of(loop, Doubling(value)) for value in values]


def taken(handed: HandedOver) -> list[GroupImage]:
    group = Group()
    handed.take(group)
    return group.images


def handed_of(images: Sequence[GroupImage], *, most: int = 8, slots: int = 1) -> HandedOver:
    handed = HandedOver(most=most, slots=slots)
    for image in images:
        handed.add(image)
    return handed


def done(images: Sequence[GroupImage], graph: Graph, *, row_shape: tuple[int, ...] | None = SHAPE) -> Group:
    """A group of all ``images``, its work done."""
    group = Group()
    handed_of(images).take(group)
    GroupWork(graph, row_shape=row_shape, dtype="float32", most=8).do(group)
    return group


@pytest.mark.parametrize(
    ("waiting", "most", "slots", "shares"),
    [(1, 8, 2, [1]), (6, 8, 2, [3, 2, 1]), (6, 8, 1, [6]), (9, 4, 1, [4, 4, 1]), (5, 1, 2, [1, 1, 1, 1, 1])],
)
def test_each_thread_takes_its_even_share_of_those_that_wait(
    loop: asyncio.AbstractEventLoop, waiting: int, most: int, slots: int, shares: list[int]
):
    images = images_of(loop, *range(waiting))
    handed = handed_of(images, most=most, slots=slots)
    groups = []
    while len(handed):
        groups.append(taken(handed))
    assert [len(group) for group in groups] == shares
    assert [image for group in groups for image in group] == images


def test_what_nobody_waits_for_is_not_taken(loop: asyncio.AbstractEventLoop):
    images = images_of(loop, 1, 2, 3)
    images[0].leave()
    images[2].leave()
    handed = handed_of(images)
    assert taken(handed) == [images[1]]
    assert taken(handed) == []
    assert len(handed) == 0


def test_a_group_grows_only_while_all_of_it_can_be_in_time(loop: asyncio.AbstractEventLoop):
    soon = time.monotonic() + 250
    images = [image_of(loop, Doubling(i), latest=soon, image_s=100) for i in range(5)]
    handed = handed_of(images)
    assert taken(handed) == images[:3]  # the third begins 200 s from now
    assert taken(handed) == images[3:]


def test_an_image_that_cannot_wait_for_others_is_not_joined(loop: asyncio.AbstractEventLoop):
    hurried = image_of(loop, Doubling(0), latest=time.monotonic() + 50, image_s=100)
    patient = image_of(loop, Doubling(1), image_s=100)
    handed = handed_of([patient, hurried])
    assert taken(handed) == [patient]
    assert taken(handed) == [hurried]


def test_what_is_too_late_is_told_so_and_takes_nobodys_room(loop: asyncio.AbstractEventLoop):
    late = [image_of(loop, Doubling(i), latest=time.monotonic() - 1) for i in range(3)]
    in_time = images_of(loop, 7, 8)
    graph = Graph()
    group = Group()
    handed_of([*late, *in_time], most=2).take(group)
    GroupWork(graph, row_shape=SHAPE, dtype="float32", most=2).do(group)
    assert [type(image.error) for image in late] == [DeadlineExceededError] * 3
    assert [image.result for image in in_time] == [14, 16]
    assert all(image.job.prepared == 0 for image in late)  # type: ignore[attr-defined]


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


def test_rows_are_written_into_the_batch_that_runs_and_it_is_used_again(loop: asyncio.AbstractEventLoop):
    graph = Graph()
    work = GroupWork(graph, row_shape=SHAPE, dtype="float32", most=4)
    for values in ((1, 2), (3,), (4, 5, 6)):
        group = Group()
        handed_of(images_of(loop, *values)).take(group)
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
