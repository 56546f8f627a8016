"""HTTP connections: so many of one address, each of which must bring a request's headers in time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.errors import InvalidRequestError, OcellaError, OverloadedError
from serving.rest.reply import failure_reply
from serving.security.limits import PerClient, address_of
from serving.status import failure_of

# Uvicorn itself waits for ever for a first request, and for one whose headers come a byte at a time.
HEADERS_S = 10.0
# Of one request, until its end has come; h11's own limit is a quarter of it.
MAX_HEADER_BYTES = 64 * 1024
_STEP_BYTES = 4096
_NO_HTTP = f"a request must be whole HTTP/1.1 with at most {MAX_HEADER_BYTES:,} bytes of headers, this one is not"


def limited_protocol(connections: PerClient, *, headers_s: float, keep_alive_s: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol for connections that are counted by ``connections``.

    Args:
        connections: counts those of each address.
        headers_s: longest time until a request's headers have come.
        keep_alive_s: longest time that a connection stays idle after an answer.
    """

    class LimitedProtocol(H11Protocol):  # by name: httptools, where it is installed, takes headers of any size
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.timeout_keep_alive = keep_alive_s  # type: ignore[assignment]  # that of the configuration is whole
            peer = transport.get_extra_info("peername")
            self._address = address_of(f"http:{peer[0]}:{peer[1]}" if peer else "http")
            self._patience: asyncio.TimerHandle | None = None
            try:
                connections.enter(self._address)
            except OverloadedError as error:
                self._counted = False
                transport.write(_last_answer(error))
                transport.close()
                return
            self._counted = True
            self._wait_for_headers()

        def data_received(self, data: bytes) -> None:
            if not self._counted:
                return
            before = self.cycle
            # Headers in small steps: h11 looks at their size only while their end has not come.
            while len(data) > _STEP_BYTES and self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                super().data_received(data[:_STEP_BYTES])
                data = data[_STEP_BYTES:]
            if not self.transport.is_closing():
                super().data_received(data)
            if self.cycle is not before:
                self._patience_ends()
            elif self._patience is None and self._begun():
                self._wait_for_headers()  # of the next request on this connection

        def connection_lost(self, exc: Exception | None) -> None:
            self._patience_ends()
            if self._counted:
                connections.leave(self._address)
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no HTTP in the form of every other refusal, unless an answer is on its way already."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_last_answer(InvalidRequestError(_NO_HTTP)))
            self.transport.close()

        def _begun(self) -> bool:
            """Whether some of a request's headers have come; what is left of a body that was not read is none."""
            return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

        def _wait_for_headers(self) -> None:
            self._patience = self.loop.call_later(headers_s, self.transport.abort)

        def _patience_ends(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

    return LimitedProtocol


def _last_answer(error: OcellaError) -> bytes:
    """A refusal as the bytes of an answer after which the connection ends."""
    reply = failure_reply(failure_of(error, request_id=""))
    body = b"".join(reply.parts)
    headers = [("content-type", reply.media_type), ("content-length", str(len(body))), *reply.headers]
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", "connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode() + body
