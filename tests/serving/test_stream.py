"""``PredictStream``: order, errors in band, a bounded window, an end in every case."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.errors import (
    DrainingError,
    ImageDecodeError,
    InvalidRequestError,
    OcellaError,
    UnknownModelError,
)
from pipelines.types import identical
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, Prediction
from tests.serving.servers import PATIENCE_S, GatedSession, Offline, running_server, swap_session
from tests.serving.trails import until


async def collect(stream: AsyncIterator[Prediction | OcellaError]) -> list[Prediction | OcellaError]:
    return [answer async for answer in stream]


async def collect_until_error(
    stream: AsyncIterator[Prediction | OcellaError],
) -> tuple[list[Prediction | OcellaError], OcellaError | None]:
    """What the stream yields before it ends, and the error that ends it."""
    answers = []
    try:
        async for answer in stream:
            answers.append(answer)
    except OcellaError as error:
        return answers, error
    return answers, None


def value(server: ListeningServer, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_every_image_is_answered_in_order_and_equal_to_offline(
    client: AsyncVisionClient, offline: Offline, photos: list[bytes]
):
    answers = await collect(client.predict_stream("things", photos * 2))
    assert len(answers) == len(photos) * 2
    for image, answer in zip(photos * 2, answers, strict=True):
        assert isinstance(answer, Prediction)
        assert identical(answer.result, offline("things", image))


async def test_a_bad_image_is_answered_in_band_and_the_stream_goes_on(
    server: ListeningServer, client: AsyncVisionClient, photos: list[bytes]
):
    images = [photos[0], b"", photos[1], b"not an image", photos[2]]
    answers = await collect(client.predict_stream("classes", images))
    assert [type(answer) for answer in answers] == [
        Prediction,
        ImageDecodeError,
        Prediction,
        ImageDecodeError,
        Prediction,
    ]
    assert value(server, "ocella_stream_frames_total", outcome="answered") == 3
    assert value(server, "ocella_stream_frames_total", outcome="failed") == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "cats"}, UnknownModelError),
        ({"model": "things", "version": 9}, UnknownModelError),
        ({"model": "things", "score_threshold": 2.0}, InvalidRequestError),
    ],
    ids=["model", "version", "option"],
)
async def test_a_bad_request_is_answered_in_band_as_well(
    client: AsyncVisionClient, photos: list[bytes], arguments: dict[str, object], error: type[Exception]
):
    answers = await collect(client.predict_stream(images=photos[:2], **arguments))
    assert [type(answer) for answer in answers] == [error, error]


async def test_an_empty_stream_ends(client: AsyncVisionClient):
    assert await collect(client.predict_stream("classes", [])) == []


async def test_images_may_come_from_an_asynchronous_source(client: AsyncVisionClient, photos: list[bytes]):
    async def source() -> AsyncIterator[bytes]:
        for image in photos[:3]:
            yield image

    assert len(await collect(client.predict_stream("classes", source()))) == 3


async def test_an_ordinary_source_never_waits_on_the_event_loop(client: AsyncVisionClient, photos: list[bytes]):
    threads: set[int] = set()

    def camera():
        for image in photos[:3]:
            threads.add(threading.get_ident())
            yield image

    assert len([answer async for answer in client.predict_stream("classes", camera())]) == 3
    assert threads
    assert threading.get_ident() not in threads


async def test_what_the_source_raises_comes_after_the_answers_before_it(
    client: AsyncVisionClient, photos: list[bytes], tmp_path: Path
):
    images = [photos[0], photos[1], tmp_path / "none.png", photos[2]]
    answers, error = await collect_until_error(client.predict_stream("classes", images))
    assert [type(answer) for answer in answers] == [Prediction, Prediction]
    assert isinstance(error, ImageDecodeError)
    assert "none.png cannot be read" in str(error)


@pytest.mark.parametrize("window", [1, 3])
async def test_no_more_than_a_window_is_in_work(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, window: int
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        batcher = server.catalog.find("classes", 1).batcher
        stream = asyncio.create_task(collect(client.predict_stream("classes", photos, window=window)))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < window:
                await asyncio.sleep(0)
        assert (await client.list_models())[0].ready  # a whole call later the rest has still not been let in
        assert batcher.inside == window
        made[0].gate.set()
        assert len(await stream) == len(photos)


@pytest.mark.parametrize("window", [-1, 257])
async def test_a_window_out_of_range_ends_the_stream(client: AsyncVisionClient, photos: list[bytes], window: int):
    with pytest.raises(InvalidRequestError, match=r"stream_options\.window must be between 0 and 256"):
        await collect(client.predict_stream("classes", photos[:1], window=window))


async def test_leaving_a_stream_frees_everything(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        stream = asyncio.create_task(collect(client.predict_stream("classes", photos)))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        assert value(server, "ocella_streams_active") == 1
        stream.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.plane.wait_empty()
            while value(server, "ocella_streams_active"):
                await asyncio.sleep(0)
        made[0].gate.set()
        assert isinstance(await client.predict("classes", photos[0]), Prediction)


async def test_a_reader_that_stops_early_closes_its_stream(
    server: ListeningServer, client: AsyncVisionClient, photos: list[bytes]
):
    async with contextlib.aclosing(client.predict_stream("classes", photos)) as stream:
        async for answer in stream:
            assert isinstance(answer, Prediction)
            break
    async with asyncio.timeout(PATIENCE_S):
        while value(server, "ocella_streams_active"):
            await asyncio.sleep(0)
        await server.plane.wait_empty()


async def test_a_stream_is_told_that_the_server_drains_after_the_answers_in_flight(
    server: ListeningServer, client: AsyncVisionClient, photos: list[bytes]
):
    answered, drained = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield photos[0]
        await answered.wait()
        server.catalog.drain()
        drained.set()
        await asyncio.Event().wait()

    stream = client.predict_stream("classes", endless())
    answers = [await anext(stream)]
    answered.set()
    more, error = await collect_until_error(stream)
    assert drained.is_set()
    assert [type(answer) for answer in answers + more] == [Prediction]
    assert isinstance(error, DrainingError)


async def test_images_of_many_streams_run_together(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(folders["classes"]) as server, AsyncVisionClient(server.grpc_address) as client:
        batcher = server.catalog.find("classes", 1).batcher
        made[0].batches.clear()
        streams = [asyncio.create_task(collect(client.predict_stream("classes", photos[:4]))) for _ in range(6)]
        await until(lambda: batcher.inside == 24)
        made[0].gate.set()
        assert [len(answers) for answers in await asyncio.gather(*streams)] == [4] * 6
        assert max(made[0].batches) > 1
        assert sum(made[0].batches) == 24
