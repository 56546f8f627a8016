import math

import pytest

from pipelines.errors import InvalidRequestError, ServiceUnavailableError
from serving.client import AsyncVisionClient, VisionClient
from serving.client.channel import CHANNEL_OPTIONS, check_address, check_timeout
from serving.grpc_server import KEEPALIVE_OPTIONS


@pytest.mark.parametrize("server", ["127.0.0.1:8001", "localhost:1", "my-host.example:65535", "[::1]:8001"])
def test_host_and_port_are_an_address(server: str):
    assert check_address(server) == server


@pytest.mark.parametrize(
    "server",
    ["", "127.0.0.1", "127.0.0.1:99999", "host:0", "host:", ":8001", "host:http", "::1:8001", "a b:1", "h:1\n"],
)
def test_anything_else_is_refused_before_grpc_guesses(server: str):
    with pytest.raises(InvalidRequestError, match="server must be host:port with a port from 1 to 65535"):
        check_address(server)


async def test_both_clients_check_the_address():
    for client in (VisionClient, AsyncVisionClient):
        with pytest.raises(InvalidRequestError, match=r"got '127\.0\.0\.1:99999'"):
            client("127.0.0.1:99999")


@pytest.mark.parametrize("timeout_s", [0, 0.5, 10, 31_536_000.0, None])
def test_seconds_up_to_a_year_and_no_end_are_a_timeout(timeout_s: float | None):
    assert check_timeout(timeout_s) == timeout_s


@pytest.mark.parametrize("timeout_s", [math.inf, math.nan, -1, 1e300, "1"])
def test_no_other_timeout_is_passed_on(timeout_s: float):
    with pytest.raises(InvalidRequestError, match="timeout_s must be a number from 0 to 31,536,000"):
        check_timeout(timeout_s)


def test_the_blocking_client_checks_every_timeout():
    with pytest.raises(InvalidRequestError, match="timeout_s"):
        VisionClient(timeout_s=math.inf)
    with VisionClient() as client:
        for call in (client.list_models, client.is_ready, client.wait_ready):
            with pytest.raises(InvalidRequestError, match="timeout_s"):
                call(timeout_s=math.inf)
        with pytest.raises(InvalidRequestError, match="timeout_s"):
            next(client.predict_stream("m", [b""], timeout_s=math.inf))


async def test_the_async_client_checks_every_timeout():
    with pytest.raises(InvalidRequestError, match="timeout_s"):
        AsyncVisionClient(timeout_s=math.inf)
    async with AsyncVisionClient() as client:
        for call in (client.list_models, client.is_ready, client.wait_ready):
            with pytest.raises(InvalidRequestError, match="timeout_s"):
                await call(timeout_s=math.inf)
        with pytest.raises(InvalidRequestError, match="timeout_s"):
            await anext(client.predict_stream("m", [b""], timeout_s=math.inf))


def test_a_closed_blocking_client_says_that_it_is_closed():
    client = VisionClient("localhost:9")
    client.close()
    for call in (client.list_models, client.is_ready, client.wait_ready, lambda: client.predict("m", b"")):
        with pytest.raises(ServiceUnavailableError, match="the client of localhost:9 is closed"):
            call()
    with pytest.raises(ServiceUnavailableError, match="is closed"):
        next(client.predict_stream("m", [b""]))


async def test_a_closed_async_client_says_that_it_is_closed():
    client = AsyncVisionClient("localhost:9")
    await client.close()
    for call in (client.list_models, client.is_ready, client.wait_ready, lambda: client.predict("m", b"")):
        with pytest.raises(ServiceUnavailableError, match="the client of localhost:9 is closed"):
            await call()
    with pytest.raises(ServiceUnavailableError, match="is closed"):
        await anext(client.predict_stream("m", [b""]))


def test_a_server_lets_clients_ping_as_often_as_they_do():
    client, server = dict(CHANNEL_OPTIONS), dict(KEEPALIVE_OPTIONS)
    # gRPC's servers hang up on whoever pings more often than they allow, every five minutes unless they are told.
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < client["grpc.keepalive_time_ms"]
    assert server["grpc.keepalive_permit_without_calls"] == client["grpc.keepalive_permit_without_calls"] == 1
