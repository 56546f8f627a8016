from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette

from examples.asyncio_service import service
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from tests.examples.conftest import MODEL
from tests.packages import photo, png


@asynccontextmanager
async def browsing(application: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Requests to an application that has started, and stops afterwards."""
    transport = httpx.ASGITransport(application)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
    ):
        yield web


@pytest.fixture
async def web(detector: ListeningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(service(detector.grpc_address)) as web:
        yield web


async def test_objects_are_counted_by_label(web: httpx.AsyncClient, detector: ListeningServer):
    picture = png(photo("astronaut", size_wh=(150, 100)))
    async with AsyncVisionClient(detector.grpc_address, timeout_s=60) as client:
        found = (await client.predict(MODEL, picture)).result
    answer = await web.post("/count", params={"model": MODEL}, content=picture)
    assert answer.status_code == 200
    assert answer.json() == Counter(found.labels or map(str, found.class_ids))
    assert sum(answer.json().values()) > 0


@pytest.mark.parametrize(
    ("model", "status", "error"), [("cats", 404, "UnknownModelError"), (MODEL, 400, "ImageDecodeError")]
)
async def test_a_refusal_is_named_with_its_status(web: httpx.AsyncClient, model: str, status: int, error: str):
    answer = await web.post("/count", params={"model": model}, content=b"no picture")
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_it_is_alive_and_ready(web: httpx.AsyncClient):
    assert (await web.get("/healthz")).json() == {"alive": True}
    answer = await web.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_without_its_vision_server_it_is_alive_and_not_ready():
    async with browsing(service("127.0.0.1:1")) as web:
        assert (await web.get("/healthz")).status_code == 200
        answer = await web.get("/readyz")
    assert (answer.status_code, answer.json()["error"]) == (503, "ServiceUnavailableError")


async def test_its_client_is_closed_with_it(detector: ListeningServer):
    application = service(detector.grpc_address)
    async with browsing(application):
        assert not application.state.vision._connection.is_closed
    assert application.state.vision._connection.is_closed
