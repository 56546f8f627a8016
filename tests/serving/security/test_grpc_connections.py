import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Iterator

import pytest

from serving.security.grpc_connections import GrpcConnections
from tests.serving.servers import PATIENCE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


class Line:
    """A connection from an address of loopback to a listener of this process, which it has accepted."""

    def __init__(self, listener: socket.socket, source: str) -> None:
        self.client = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S, source_address=(source, 0))
        self.server, _ = listener.accept()

    @property
    def is_open(self) -> bool:
        """Whether the client can still be written to by the server."""
        try:
            self.server.send(b"a")
        except OSError:
            return False
        return self.client.recv(1) == b"a"

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    made: list[Line] = []
    yield made
    for each in made:
        each.close()


def connect(lines: list[Line], listener: socket.socket, *, source: str = "127.0.0.1") -> Line:
    lines.append(Line(listener, source))
    return lines[-1]


def watching(listener: socket.socket, *, most: int) -> GrpcConnections:
    return GrpcConnections(listener.getsockname()[1], most=most)


def test_an_address_keeps_what_it_may_have(listener: socket.socket, lines: list[Line]):
    held = [connect(lines, listener) for _ in range(2)]
    assert watching(listener, most=2).look() == 0
    assert all(each.is_open for each in held)


def test_a_connection_that_came_after_a_look_gives_way_to_those_before(listener: socket.socket, lines: list[Line]):
    freed = socket.socket()  # a low number of a file, which the last connection will have
    held = [connect(lines, listener) for _ in range(2)]
    connections = watching(listener, most=2)
    assert connections.look() == 0
    freed.close()
    late = connect(lines, listener)
    assert connections.look() == 1
    assert [each.is_open for each in (*held, late)] == [True, True, False]


def test_another_address_has_its_own(listener: socket.socket, lines: list[Line]):
    held = [connect(lines, listener, source=source) for source in ("127.0.0.1", "127.0.0.2")]
    assert watching(listener, most=1).look() == 0
    assert all(each.is_open for each in held)


def test_connections_to_another_port_are_left_alone(listener: socket.socket, lines: list[Line]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        held = [connect(lines, other) for _ in range(2)]
        assert watching(listener, most=1).look() == 0
        assert all(each.is_open for each in held)


def test_files_and_numbers_stay_as_they_are(listener: socket.socket, lines: list[Line]):
    line = connect(lines, listener)
    line.server.setblocking(False)
    watching(listener, most=1).look()
    assert line.server.getblocking() is False
    assert line.is_open


async def test_a_look_for_which_no_file_is_left_is_one_line_and_the_next_one_comes(
    listener: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    loop, again = asyncio.get_running_loop(), asyncio.Event()

    def look(_: GrpcConnections) -> int:
        if not caplog.records:
            raise OSError(errno.EMFILE, "Too many open files")
        loop.call_soon_threadsafe(again.set)
        return 0

    monkeypatch.setattr(GrpcConnections, "look", look)
    async with GrpcConnections(listener.getsockname()[1], most=1, interval_s=0.001), asyncio.timeout(PATIENCE_S):
        await again.wait()
    said = (
        "serving.security.grpc_connections",
        logging.ERROR,
        "gRPC connections could not be counted: Too many open files",
    )
    assert caplog.record_tuples == [said]
    assert caplog.records[0].exc_info is None
