"""Every bad file of the corpus through a running server: one clear error each, others' answers unchanged."""

import asyncio
import random
from pathlib import Path

import pytest

from pipelines.errors import OcellaError
from pipelines.types import identical
from serving.client import AsyncVisionClient, Prediction
from tests.corpus import bad_images
from tests.serving.servers import Offline, running_server

CORPUS = bad_images()


async def outcome(client: AsyncVisionClient, model: str, image: bytes) -> Prediction | OcellaError:
    try:
        return await client.predict(model, image)
    except OcellaError as error:
        return error


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
async def test_bad_files_among_good_ones_are_refused_one_by_one(
    repository: Path, offline: Offline, photos: list[bytes], model: str
):
    jobs = [(name, bad.data) for name, bad in CORPUS.items()] + [(i, photos[i % len(photos)]) for i in range(60)]
    random.Random(7).shuffle(jobs)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        workers = asyncio.Semaphore(32)

        async def work(data: bytes) -> Prediction | OcellaError:
            async with workers:
                return await outcome(client, model, data)

        outcomes = await asyncio.gather(*(work(data) for _, data in jobs))
        assert await client.is_ready()
        assert await client.is_ready(model)
    expected = {i: offline(model, image) for i, image in enumerate(photos)}
    for (name, _), got in zip(jobs, outcomes, strict=True):
        if isinstance(name, int):
            assert isinstance(got, Prediction)
            assert identical(got.result, expected[name % len(photos)])
        else:
            assert type(got) is CORPUS[name].error, f"{name}: {got}"
            assert "\n" not in str(got)


async def test_bad_files_in_a_stream_are_answered_in_their_places(
    repository: Path, offline: Offline, photos: list[bytes]
):
    names = sorted(CORPUS)
    images = [image for i, name in enumerate(names) for image in (CORPUS[name].data, photos[i % len(photos)])]
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        answers = [answer async for answer in client.predict_stream("classes", images)]
        assert await client.is_ready("classes")
    assert [type(answer) for answer in answers[::2]] == [CORPUS[name].error for name in names]
    expected = [offline("classes", image) for image in photos]
    for i, answer in enumerate(answers[1::2]):
        assert isinstance(answer, Prediction)
        assert identical(answer.result, expected[i % len(photos)])
