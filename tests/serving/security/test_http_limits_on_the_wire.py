import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from serving.app import ListeningServer
from serving.http_server import HttpServer
from serving.rest.body import PATIENCE_S as BODY_S
from serving.security.connections import HEADERS_S
from tests.serving.security.apis import MODEL, NO_CONNECTION, Caller, post_image
from tests.serving.security.matrix import documented
from tests.serving.servers import PATIENCE_S, server_in_thread

FAULTS = (
    "more HTTP connections than `OCELLA_MAX_CONNECTIONS`",
    "more uploads than `OCELLA_MAX_UPLOADS`",
    "uploads of more bytes than `OCELLA_MAX_UPLOAD_BYTES`",
    "body that takes longer than `--max-request-s`",
    "body of which no byte comes for 30 seconds",
    "headers that have not come after 10 seconds",
    "headers of more than 64 KiB",
)


def expected(fault: str) -> dict[str, str]:
    assert fault in FAULTS
    return documented()[fault]


def test_an_address_with_all_its_http_connections_open_is_refused_one_more(model: Path):
    with server_in_thread(model, max_connections=1) as server:
        caller = Caller(server=server)
        with caller.http() as first:
            assert first.get("/healthz").status_code == 200
            assert expected("more HTTP connections than `OCELLA_MAX_CONNECTIONS`") == {
                "HTTP": caller.status(lambda client: client.get("/healthz"))
            }
            assert first.get("/healthz").status_code == 200


def test_probes_answer_an_address_that_holds_all_its_http_connections(model: Path):
    with server_in_thread(model, max_connections=1, health_port=0) as server, Caller(server=server).http() as first:
        assert first.get("/healthz").status_code == 200
        assert httpx.get(f"http://{server.health_address}/healthz", trust_env=False).status_code == 200


def test_a_body_beyond_those_on_their_way_is_refused(model: Path, image: bytes):
    with server_in_thread(model, max_uploads=1) as server, _half_a_body(server) as first:
        caller = Caller(server=server)
        assert expected("more uploads than `OCELLA_MAX_UPLOADS`") == {
            "HTTP": _eventually(lambda: caller.status(post_image(image)), "429")
        }
        first.close()
        assert _eventually(lambda: caller.status(post_image(image)), "200") == "200"


def test_bodies_that_hold_all_bytes_of_those_on_their_way_are_refused(model: Path, image: bytes):
    with server_in_thread(model, max_upload_bytes=len(image)) as server:
        caller = Caller(server=server)
        assert caller.status(post_image(image)) == "200"
        with _half_a_body(server) as first:
            assert expected("uploads of more bytes than `OCELLA_MAX_UPLOAD_BYTES`") == {
                "HTTP": _eventually(lambda: caller.status(post_image(image)), "429")
            }
            first.close()
            assert _eventually(lambda: caller.status(post_image(image)), "200") == "200"


def test_a_body_that_never_ends_is_given_up(model: Path):
    with server_in_thread(model, max_request_s=0.5) as server, _half_a_body(server) as connection:
        assert expected("body that takes longer than `--max-request-s`") == {"HTTP": _answer_on(connection)}


def test_a_body_that_stops_coming_is_given_up(model: Path, monkeypatch: Any):
    monkeypatch.setattr("serving.rest.body.PATIENCE_S", 0.2)
    with server_in_thread(model) as server, _half_a_body(server) as connection:
        assert expected("body of which no byte comes for 30 seconds") == {"HTTP": _answer_on(connection)}


def test_headers_that_stop_coming_are_given_up(model: Path, monkeypatch: Any):
    monkeypatch.setattr("serving.app.HttpServer", partial(HttpServer, headers_s=0.2))
    with server_in_thread(model) as server, _connection(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: loc")
        assert expected("headers that have not come after 10 seconds") == {"HTTP": _answer_on(connection)}


def test_headers_that_come_in_pieces_may_hold_as_much_as_the_page_says(model: Path):
    with server_in_thread(model) as server, _connection(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".ljust(63 * 1024, b"a") + b"\r\n\r\n"
        for start in range(0, len(head), 4096):
            connection.sendall(head[start : start + 4096])
        assert _answer_on(connection) == "200"


def test_headers_that_come_at_once_may_hold_no_more(model: Path):
    with server_in_thread(model) as server, _connection(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".ljust(72 * 1024, b"a") + b"\r\n\r\n")
        assert expected("headers of more than 64 KiB") == {"HTTP": _answer_on(connection)}


def test_what_is_no_http_is_refused_in_the_form_of_every_refusal(model: Path):
    with server_in_thread(model) as server, _connection(server) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["reason"] == "InvalidRequestError"


def test_headers_that_do_not_end_are_refused(model: Path):
    with server_in_thread(model) as server, _connection(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".ljust(64 * 1024 + 1, b"a"))
        assert expected("headers of more than 64 KiB") == {"HTTP": _answer_on(connection)}


def test_the_page_tells_the_times_that_are_no_settings():
    assert f"body of which no byte comes for {BODY_S:g} seconds" in FAULTS
    assert f"headers that have not come after {HEADERS_S:g} seconds" in FAULTS


def _connection(server: ListeningServer) -> socket.socket:
    host, port = server.http_address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def _answer_on(connection: socket.socket) -> str:
    """The status of the answer that comes, or that the server ends the connection without one."""
    try:
        line = connection.makefile("rb").readline()
    except ConnectionResetError:
        line = b""
    return line.split()[1].decode() if line else NO_CONNECTION


@contextmanager
def _half_a_body(server: ListeningServer) -> Iterator[socket.socket]:
    """A connection whose request said that it has a body, and sent a part of it."""
    with _connection(server) as connection:
        head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"
        connection.sendall(head.encode() + bytes(10))
        yield connection


def _eventually(answer: Any, wanted: str) -> str:
    """The first answer that is ``wanted``, or the last of many: what another connection did may still be on its way."""
    for _ in range(200):
        if (got := answer()) == wanted:
            return got
    return got
