import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from serving.http_server import KEEP_ALIVE_S, HttpServer
from serving.ports import bind
from serving.security.limits import PerClient
from tests.serving.servers import PATIENCE_S

ASK = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
MOST_HEADERS = 64 * 1024


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


@pytest.fixture
async def connections() -> PerClient:
    return PerClient("connections", 2)


@pytest.fixture
async def address(connections: PerClient) -> AsyncIterator[tuple[str, int]]:
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    listener = bind("127.0.0.1", 0, protocol="HTTP")
    async with HttpServer(app, listener, connections=connections, headers_s=0.2):
        yield listener.getsockname()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nhost: a\r\n"])
async def test_a_connection_whose_headers_do_not_come_is_ended(address: tuple[str, int], sent: bytes):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    assert await read_all(reader) == b""
    writer.close()


async def test_a_connection_whose_next_headers_stop_is_ended(address: tuple[str, int]):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(ASK)
    assert b"200 OK" in await reader.readuntil(b"abc")
    writer.write(ASK[:20])
    assert await read_all(reader) == b""
    writer.close()


async def test_headers_that_do_not_end_within_their_limit_are_refused(address: tuple[str, int]):
    reader, writer = await asyncio.open_connection(*address)
    writer.write((ASK[:-7] + b"\r\nx: ").ljust(MOST_HEADERS + 1, b"a"))
    assert (await read_all(reader)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_headers_within_their_limit_are_answered(address: tuple[str, int]):
    reader, writer = await asyncio.open_connection(*address)
    writer.write((ASK[:-7] + b"\r\nx: ").ljust(MOST_HEADERS - 4, b"a") + ASK[-7:])
    assert b"200 OK" in await reader.readuntil(b"abc")
    writer.close()


async def test_a_body_may_take_longer_than_headers(address: tuple[str, int]):
    reader, writer = await asyncio.open_connection(*address)
    slow, ended = await asyncio.open_connection(*address)
    ended.write(b"POST")
    writer.write(ASK[:-1])
    assert await read_all(slow) == b""  # the patience with the other's headers is over
    writer.write(ASK[-1:])
    assert b"200 OK" in await reader.readuntil(b"abc")
    for each in (writer, ended):
        each.close()


async def test_the_rest_of_a_body_that_was_not_read_is_not_taken_for_headers(address: tuple[str, int]):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(ASK.replace(b"POST / ", b"POST /nowhere ")[:-1])
    assert b"404 Not Found" in await reader.readuntil(b"Not Found\r\n")
    writer.write(ASK[-1:])
    slow, ended = await asyncio.open_connection(*address)
    ended.write(b"POST")
    assert await read_all(slow) == b""  # patience with headers is over
    writer.write(ASK)
    assert b"200 OK" in await reader.readuntil(b"abc")
    for each in (writer, ended):
        each.close()


async def test_an_idle_connection_is_kept_for_longer_than_pools_and_proxies_keep_theirs(connections: PerClient):
    assert KEEP_ALIVE_S > 60
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    kept_by, ended_by = (bind("127.0.0.1", 0, protocol="HTTP") for _ in range(2))
    async with (
        HttpServer(app, kept_by, connections=connections, headers_s=0.2),
        HttpServer(app, ended_by, connections=PerClient("connections", 1), headers_s=0.2, keep_alive_s=0.4),
    ):
        reader, writer = await asyncio.open_connection(*kept_by.getsockname())
        short, other = await asyncio.open_connection(*ended_by.getsockname())
        for each in (writer, other):
            each.write(ASK)
        assert b"200 OK" in await reader.readuntil(b"abc")
        assert b"200 OK" in await read_all(short)  # all that comes, so that it ends
        writer.write(ASK)
        assert b"200 OK" in await reader.readuntil(b"abc")
        for each in (writer, other):
            each.close()


async def test_a_connection_too_many_is_told_and_ended(address: tuple[str, int], connections: PerClient):
    open_ones = [await asyncio.open_connection(*address) for _ in range(2)]
    for reader, writer in open_ones:
        writer.write(ASK)
        assert b"200 OK" in await reader.readuntil(b"abc")
    reader, writer = await asyncio.open_connection(*address)
    answer = await read_all(reader)
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\n")
    assert b'"message":"a client may have 2 connections open, this one has"' in answer
    for each in (writer, *(writer for _, writer in open_ones)):
        each.close()
    async with asyncio.timeout(PATIENCE_S):
        while len(connections):
            await asyncio.sleep(0)
