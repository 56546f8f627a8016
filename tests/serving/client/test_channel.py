import pytest

from pipelines.errors import InvalidRequestError
from serving.client import AsyncVisionClient, VisionClient
from serving.client.channel import check_address


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
