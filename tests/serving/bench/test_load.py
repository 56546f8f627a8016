"""The generator against real servers: what it counts is what they count."""

from typing import Any

import numpy as np
import pytest

from serving.app import ListeningServer
from serving.bench.load import generator
from serving.bench.messages import Messages, image_messages
from serving.bench.schedule import poisson_starts
from serving.bench.scrape import read_scrape
from serving.dataplane import PredictCall
from tests.serving.bench.scraping import counted


@pytest.fixture
def messages(photos: list[bytes]) -> Messages:
    return image_messages("classes", photos[:3])


async def test_a_closed_loop_counts_as_the_server_counts(server: ListeningServer, messages: Messages):
    async with generator(server.grpc_address) as sending:
        outcome = await sending.closed(messages, concurrency=5, duration_s=0.3)
    assert outcome.codes == counted(server).codes
    assert set(outcome.codes) == {"OK"}
    assert outcome.sent >= 5
    assert len(outcome.latency_s) == outcome.sent == counted(server).images


async def test_an_open_loop_sends_once_at_each_moment(server: ListeningServer, messages: Messages):
    starts_s = poisson_starts(60, 0.5, seed=1)
    async with generator(server.grpc_address, connections=2) as sending:
        outcome = await sending.open(messages, starts_s=starts_s)
    assert outcome.codes == counted(server).codes == {"OK": len(starts_s)}
    assert outcome.late_s.shape == starts_s.shape
    assert np.all(outcome.late_s >= 0)
    assert outcome.seconds >= starts_s[-1]


async def test_refusals_are_counted_by_their_code(server: ListeningServer, photos: list[bytes]):
    async with generator(server.grpc_address) as sending:
        outcome = await sending.open(image_messages("nobody", photos[:1]), starts_s=np.zeros(7))
    assert outcome.codes == counted(server).codes == {"NOT_FOUND": 7}
    assert len(outcome.latency_s) == 0


async def test_requests_go_over_connections_of_their_own(
    server: ListeningServer, messages: Messages, monkeypatch: pytest.MonkeyPatch
):
    clients: set[str] = set()
    predict = server.plane.predict

    async def watched(call: PredictCall, *rest: Any) -> Any:
        clients.add(call.client)
        return await predict(call, *rest)

    monkeypatch.setattr(server.plane, "predict", watched)
    async with generator(server.grpc_address, connections=3) as sending:
        await sending.open(messages, starts_s=np.zeros(6))
    assert len(clients) == 3


def test_counters_are_sums_over_models():
    text = (
        "process_cpu_seconds_total 2.5\n"
        'ocella_requests_total{code="OK",method="Predict",model="a",version="1"} 3\n'
        'ocella_requests_total{code="OK",method="Predict",model="b",version="1"} 4\n'
        'ocella_requests_total{code="INTERNAL",method="Predict",model="b",version="1"} 1\n'
        'ocella_images_total{model="a",version="1"} 3\n'
        'ocella_images_total{model="b",version="1"} 4\n'
    )
    found = read_scrape(text)
    assert (found.cpu_s, found.images, found.codes) == (2.5, 7, {"OK": 7, "INTERNAL": 1})
    assert found.since(found).codes == {}
