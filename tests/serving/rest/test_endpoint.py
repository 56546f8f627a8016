"""What holds for any path: limits, codings, deadlines, clients that leave, counts, stops."""

import asyncio
import gzip
import json
import logging
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.errors import OverloadedError
from serving.app import ListeningServer, listening
from serving.grpc_server import ENVELOPE_BYTES
from serving.rest import body as body_module
from tests.serving.servers import PATIENCE_S, FaultySession, GatedSession, running_server, settings_for, swap_session

PREDICT = "/v1/models/classes:predict"
LIMIT = 200_000


@asynccontextmanager
async def client_of(server: ListeningServer) -> AsyncIterator[httpx.AsyncClient]:
    address = f"http://{server.http_address}"
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=PATIENCE_S) as http:
        yield http


@pytest.fixture
async def small(repository: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that takes bodies of at most ``LIMIT`` bytes."""
    async with (
        running_server(repository, max_image_bytes=LIMIT - ENVELOPE_BYTES) as server,
        client_of(server) as http,
    ):
        yield http


def counted(server: ListeningServer, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_body_of_the_limit_is_read_and_one_byte_more_is_not(small: httpx.AsyncClient):
    at_limit = await small.post(PREDICT, content=bytes(LIMIT))
    beyond = await small.post(PREDICT, content=bytes(LIMIT + 1))
    assert at_limit.json()["reason"] in ("ImageDecodeError", "ImageTooLargeError")
    assert (beyond.status_code, beyond.json()["reason"]) == (413, "RequestTooLargeError")


async def test_a_body_without_length_is_ended_at_the_limit(small: httpx.AsyncClient):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield bytes(10_000)

    response = await small.post(PREDICT, content=chunks())
    assert response.status_code == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_refused(small: httpx.AsyncClient, coding: str):
    bomb = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](bytes(20_000_000))
    assert len(bomb) < LIMIT
    response = await small.post(PREDICT, content=bomb, headers={"content-encoding": coding})
    assert (response.status_code, response.json()["reason"]) == (413, "RequestTooLargeError")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
def test_a_packed_body_is_the_same_image(http: httpx.Client, photos: list[bytes], coding: str):
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[coding](photos[0])
    response = http.post(PREDICT, content=packed, headers={"content-encoding": coding})
    assert response.json() == http.post(PREDICT, content=photos[0]).json()


def test_another_coding_is_refused(http: httpx.Client, photos: list[bytes]):
    response = http.post(PREDICT, content=photos[0], headers={"content-encoding": "br"})
    assert (response.status_code, "gzip, deflate" in response.json()["message"]) == (415, True)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_long_answer_is_packed_where_that_is_asked_for(http: httpx.Client, photos: list[bytes], coding: str):
    path = "/v1/models/masks:predict"
    packed = http.post(path, content=photos[0], headers={"accept-encoding": coding})
    plain = http.post(path, content=photos[0], headers={"accept-encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == (coding, False)
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


def test_a_short_answer_is_not_packed(http: httpx.Client):
    assert "content-encoding" not in http.get("/v2/health/live", headers={"accept-encoding": "gzip"}).headers


async def test_a_client_that_leaves_ends_its_work(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository) as server:
        host, _, port = server.http_address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(photos[0])}\r\n\r\n"
        writer.write(head.encode() + photos[0])
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await server.plane.wait_empty()
        made[0].gate.set()
        labels = {"model": "classes", "version": "1"}
        assert counted(server, "ocella_cancelled_total", **labels) == 1
        assert counted(server, "ocella_requests_total", **labels, method="v1.predict", code="CANCELLED") == 1


async def test_a_client_that_leaves_while_it_sends_is_counted_as_one_that_left(server: ListeningServer):
    host, _, port = server.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert b"100" in await reader.readline()  # from here on the server reads
    writer.close()
    async with client_of(server) as http:
        labels = {"model": "classes", "version": "1", "method": "v1.predict", "code": "CANCELLED"}
        async with asyncio.timeout(PATIENCE_S):
            while not counted(server, "ocella_requests_total", **labels):
                await http.get("/v2/health/live")


async def test_a_body_that_stops_coming_is_given_up(server: ListeningServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body_module, "PATIENCE_S", 0.05)

    async with client_of(server) as http, asyncio.timeout(PATIENCE_S):
        host, _, port = server.http_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nsome".encode())
        assert b" 408 " in await reader.readline()
        writer.close()
        assert (await http.get("/v2/health/live")).status_code == 200


async def test_a_deadline_counts_from_before_the_body(server: ListeningServer):
    host, _, port = server.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PREDICT}?timeout=0.05 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nsome".encode())
    assert b" 504 " in await reader.readline()
    writer.close()


async def test_requests_are_counted_by_what_was_asked_for(server: ListeningServer, photos: list[bytes]):
    async with client_of(server) as http:
        await http.post(PREDICT, content=photos[0])
        await http.post("/v1/models/classes/versions/1:predict", content=b"no")
        await http.post("/v2/models/classes/infer", content=b"{}")
        await http.get("/v2/models/classes")
    labels = {"model": "classes", "version": "1"}
    for method, code, count in (
        ("v1.predict", "OK", 1),
        ("v1.predict", "INVALID_ARGUMENT", 1),
        ("v2.infer", "INVALID_ARGUMENT", 1),
    ):
        assert counted(server, "ocella_requests_total", **labels, method=method, code=code) == count
    assert counted(server, "ocella_requests_total", model="", version="", method="v2.model", code="OK") == 1


async def test_statistics_count_requests_of_http(server: ListeningServer, photos: list[bytes]):
    async with client_of(server) as http:
        for _ in range(3):
            await http.post(PREDICT, content=photos[0])
        (stats,) = (await http.get("/v2/models/classes/stats")).json()["model_stats"]
    assert (stats["inference_count"], stats["inference_stats"]["success"]["count"]) == (3, 3)


async def test_a_full_server_says_when_to_come_again(
    server: ListeningServer, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    async def refuse(*_: object) -> None:
        raise OverloadedError("the queue must have room, it is full", retry_after_s=0.2)

    monkeypatch.setattr(server.plane, "predict_on", refuse)
    async with client_of(server) as http:
        response = await http.post(PREDICT, content=photos[0])
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["retry_after_s"] == 0.2


async def test_a_fault_of_ours_tells_nothing_but_the_request_id(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def spoil(outputs: object) -> dict[str, object]:
        raise RuntimeError("secret")

    swap_session(monkeypatch, "classes", lambda session: FaultySession(session, spoil))
    async with running_server(repository) as server, client_of(server) as http:
        with caplog.at_level(logging.ERROR):
            response = await http.post(PREDICT, content=photos[0])
    document = response.json()
    assert (response.status_code, document["reason"]) == (500, "InternalError")
    assert "secret" not in response.text
    assert document["request_id"] in document["message"]
    assert document["request_id"] in caplog.text


async def test_a_draining_server_refuses_before_it_reads(server: ListeningServer):
    server.catalog.drain()
    async with client_of(server) as http:
        response = await http.post(PREDICT, content=b"x")
        assert (response.status_code, response.json()["reason"]) == (503, "DrainingError")
        assert (await http.get("/v2/health/ready")).status_code == 400
        assert (await http.get("/v2/health/live")).status_code == 200


async def test_a_model_that_is_not_ready_is_unavailable(repository: Path):
    async with listening(settings_for(repository)) as server, client_of(server) as http:
        response = await http.post("/v2/models/classes/infer", content=b"{}")
        assert (response.status_code, response.json()["reason"]) == (503, "ModelNotReadyError")
        assert "loading" in json.dumps(response.json())


async def test_a_stop_finishes_the_request_that_is_inside(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository) as server:
        http = httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False, timeout=PATIENCE_S)
        answer = asyncio.create_task(http.post(PREDICT, content=photos[0]))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        server.catalog.drain()
        made[0].gate.set()
    assert (await answer).status_code == 200
    await http.aclose()


async def test_answers_do_not_wait_for_acknowledgements(server: ListeningServer, monkeypatch: pytest.MonkeyPatch):
    at_once: list[bool] = []
    made = H11Protocol.connection_made

    def note(protocol: H11Protocol, transport: asyncio.Transport) -> None:
        made(protocol, transport)
        connection = transport.get_extra_info("socket")
        at_once.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    monkeypatch.setattr(H11Protocol, "connection_made", note)
    async with client_of(server) as http:
        assert (await http.get("/v2/health/live")).status_code == 200
    assert at_once == [True]
