"""The server's counters against what its clients count themselves."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from pipelines.errors import OcellaError
from serving.client import AsyncVisionClient, Prediction
from tests.serving.servers import running_server

CODES = {
    "ImageDecodeError": "INVALID_ARGUMENT",
    "InvalidRequestError": "INVALID_ARGUMENT",
    "UnknownModelError": "NOT_FOUND",
    "Prediction": "OK",
}


async def test_counters_equal_the_clients_own_counts_by_code(repository: Path, photos: list[bytes]):
    kinds = [
        ("classes", photos[0], {}),
        ("things", photos[1], {}),
        ("classes", b"no image", {}),
        ("things", photos[1], {"top_k": 3}),
        ("things", photos[1], {"version": 9}),
        ("cats", photos[0], {}),
        ("dogs" * 100, photos[0], {}),
    ]
    jobs = random.Random(3).choices(kinds, k=400)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        workers = asyncio.Semaphore(32)

        async def work(model: str, image: bytes, arguments: dict[str, object]) -> tuple[str, str]:
            async with workers:
                try:
                    return model, type(await client.predict(model, image, **arguments)).__name__
                except OcellaError as error:
                    return model, type(error).__name__

        outcomes = await asyncio.gather(*(work(*job) for job in jobs))
        frames = [answer async for answer in client.predict_stream("classes", [photos[0], b"bad"] * 20)]
        families = {family.name: family for family in server.metrics.registry.collect()}
    got: Counter[tuple[str, str, str]] = Counter()
    for sample in families["ocella_requests"].samples:
        got[sample.labels["method"], sample.labels["model"], sample.labels["code"]] += int(sample.value)
    expected: Counter[tuple[str, str, str]] = Counter()
    for model, outcome in outcomes:
        known = model if model in ("classes", "things") else "_unknown"
        expected["Predict", known, CODES[outcome]] += 1
    for frame in frames:
        expected["PredictStream", "classes", CODES[type(frame).__name__]] += 1
    assert got == expected
    images = sum(sample.value for sample in families["ocella_images"].samples)
    assert images == sum(count for (_, _, code), count in expected.items() if code == "OK")
    durations = families["ocella_request_duration_seconds"].samples
    assert sum(s.value for s in durations if s.name.endswith("_count")) == len(jobs) + len(frames)
    assert sum(isinstance(frame, Prediction) for frame in frames) == 20
