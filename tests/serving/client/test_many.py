import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from pipelines.errors import ImageDecodeError, InvalidRequestError, ServiceUnavailableError
from pipelines.types import identical
from serving.client import AsyncVisionClient, Prediction, VisionClient
from serving.client.many import in_order, in_order_async
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.servers import PATIENCE_S, Offline


async def each(items: object) -> AsyncIterator[object]:
    for item in items:
        yield item


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_answers_come_in_order_with_errors_in_their_places(
    blocking_client: VisionClient, offline: Offline, photos: list[bytes], concurrency: int
):
    images = [*photos[:4], b"bad", *photos[4:6]]
    answers = list(blocking_client.predict_many("classes", images, concurrency=concurrency))
    assert isinstance(answers.pop(4), ImageDecodeError)
    assert all(identical(a.result, offline("classes", image)) for a, image in zip(answers, photos[:6], strict=True))


async def test_the_async_client_takes_either_kind_of_iterable(
    client: AsyncVisionClient, offline: Offline, photos: list[bytes]
):
    for images in (photos[:5], each(photos[:5])):
        answers = [answer async for answer in client.predict_many("vectors", images, concurrency=2)]
        assert all(identical(a.result, offline("vectors", image)) for a, image in zip(answers, photos[:5], strict=True))


@pytest.mark.parametrize("items", [[], range(20)])
async def test_both_are_map_in_order(items: range):
    async def double(item: int) -> int:
        await asyncio.sleep(0)
        return 2 * item

    assert list(in_order(lambda item: 2 * item, items, concurrency=3)) == [2 * item for item in items]
    assert [a async for a in in_order_async(double, each(items), concurrency=3)] == [2 * item for item in items]


def test_no_more_are_taken_than_are_in_work_at_once():
    taken, gate = [], threading.Event()

    def source() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    def work(item: int) -> int:
        if item:
            gate.wait(PATIENCE_S)
        return item

    answers = in_order(work, source(), concurrency=3)
    assert next(answers) == 0
    assert len(taken) <= 3
    gate.set()
    assert list(answers) == list(range(1, 100))


async def test_no_more_are_in_work_on_the_loop_than_allowed():
    at_once, most, full = 0, 0, asyncio.Event()

    async def work(item: int) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 4:
            full.set()
        await full.wait()
        at_once -= 1
        return item

    assert len([a async for a in in_order_async(work, each(range(50)), concurrency=4)]) == 50
    assert most == 4


def broken_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise RuntimeError("the camera was unplugged")


def test_what_the_source_raises_comes_after_the_answers_before_it():
    answers = in_order(lambda item: item, broken_after(2), concurrency=4)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(RuntimeError, match="unplugged"):
        next(answers)


async def test_so_it_does_on_the_loop():
    async def same(item: int) -> int:
        return item

    answers = in_order_async(same, each(broken_after(2)), concurrency=4)
    assert [await anext(answers), await anext(answers)] == [0, 1]
    with pytest.raises(RuntimeError, match="unplugged"):
        await anext(answers)


async def test_an_iteration_that_is_left_cancels_what_is_under_way():
    cancelled = []

    async def work(item: int) -> int:
        try:
            if item:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    answers = in_order_async(work, each(range(100)), concurrency=3)
    assert await anext(answers) == 0
    await asyncio.sleep(0)
    await answers.aclose()
    assert set(cancelled) <= {1, 2, 3}
    assert len(asyncio.all_tasks()) == 1


async def test_a_concurrency_out_of_range_is_refused(blocking_client: VisionClient, client: AsyncVisionClient):
    for concurrency in (0, 257, 2.5):
        with pytest.raises(InvalidRequestError, match="concurrency must be from 1 to 256"):
            next(blocking_client.predict_many("m", [b""], concurrency=concurrency))
        with pytest.raises(InvalidRequestError, match="concurrency must be from 1 to 256"):
            await anext(client.predict_many("m", [b""], concurrency=concurrency))


def test_a_client_that_is_closed_ends_the_iteration():
    with serving(Scripted()) as address:
        client = VisionClient(address, timeout_s=PATIENCE_S)
        answers = client.predict_many("m", iter(lambda: b"", None), concurrency=2)
        assert isinstance(next(answers), Prediction)
        client.close()
        with pytest.raises(ServiceUnavailableError, match="closed"):
            list(answers)
