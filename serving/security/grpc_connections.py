"""gRPC connections of one client: gRPC tells its server of calls alone, but the sockets are files of this process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Self, TypeAlias

from serving.logs.entry import event
from serving.security.limits import address_of

Peer: TypeAlias = tuple[str, int]
LOOK_S = 1.0
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_FILES = Path("/proc/self/fd")
_log = logging.getLogger(__name__)


class GrpcConnections:
    """Ends the connections of an address beyond so many, the youngest first; an async context manager.

    It looks once a second, so that a client has more for a moment. Where the system does not list a process's files,
    which is all but Linux, nothing is ended.
    """

    def __init__(self, port: int, *, most: int, interval_s: float = LOOK_S) -> None:
        """Watch the connections to a port of this process.

        Args:
            port: that gRPC is bound to.
            most: connections that an address may have.
            interval_s: from one look to the next.
        """
        self._port = port
        self._most = most
        self._interval_s = interval_s
        # Who is at the other end of each socket of the last look, by the socket's own number, which no other gets.
        self._seen: dict[int, Peer | None] = {}

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while _FILES.is_dir():
            await asyncio.sleep(self._interval_s)
            try:
                await asyncio.to_thread(self.look)
            except OSError as error:  # such as no file that is left to open
                _log.error("gRPC connections could not be counted: %s", error.strerror)
            except Exception:  # noqa: BLE001, without the next look nothing would ever be ended
                _log.exception("gRPC connections could not be counted")

    def look(self) -> int:
        """End what is too much now; how many connections that were."""
        by_client: dict[str, list[tuple[bool, int, Peer]]] = defaultdict(list)
        seen: dict[int, Peer | None] = {}
        for file in [int(link.name) for link in _FILES.iterdir()]:
            number = _number_of(file)
            if number is None:
                continue
            is_new = number not in self._seen
            peer = seen[number] = _peer_of(file, self._port) if is_new else self._seen[number]
            if peer is not None:
                by_client[address_of(f"grpc:{peer[0]}:{peer[1]}")].append((is_new, file, peer))
        self._seen = seen
        ended = 0
        for client, connections in by_client.items():
            surplus = sorted(connections)[self._most :]  # those of the last look come first
            for _, file, peer in surplus:
                _end(file, peer)
            if surplus:
                _say(client, len(surplus), self._most)
            ended += len(surplus)
        return ended


@contextmanager
def _opened(file: int) -> Iterator[socket.socket]:
    """A socket of this process by a number of its own, which cannot become another file meanwhile; raises OSError."""
    own = os.dup(file)
    try:
        connection = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise
    with connection:
        yield connection


def _number_of(file: int) -> int | None:
    """A socket's own number; ``None`` for other files, and for one that was closed meanwhile."""
    with suppress(OSError):
        status = os.fstat(file)
        if S_ISSOCK(status.st_mode):
            return status.st_ino
    return None


def _peer_of(file: int, port: int) -> Peer | None:
    """Who is at the other end of a file that is a connection to ``port``; ``None`` where it is none."""
    with suppress(OSError), _opened(file) as connection:
        if connection.family in _FAMILIES and connection.getsockname()[1] == port:
            host, peer_port, *_ = connection.getpeername()
            return host, peer_port
    return None


def _end(file: int, peer: Peer) -> None:
    """End a connection, if it is still this one; gRPC sees it as one that its client ended."""
    with suppress(OSError), _opened(file) as connection:
        if connection.getpeername()[:2] == peer:
            connection.shutdown(socket.SHUT_RDWR)


def _say(client: str, ended: int, most: int) -> None:
    _log.warning(
        "%s gRPC connections of %s are ended: a client may have %s open, it has more",
        ended,
        client,
        most,
        extra=event("connections_ended", client=client, connections=ended),
    )
