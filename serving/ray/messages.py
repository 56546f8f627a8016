"""What travels between proxies, routers and replicas: requests and answers as the bytes that they are on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from serving.status import Failure

Outcome: TypeAlias = bytes | Failure
"""An answer, as the bytes of its message, or what the caller is told instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request message.

    Attributes:
        data: the message, not parsed.
        remaining_s: seconds that were left to its deadline when it was sent on; ``None``: it has none. A time of day
            would have to trust the clocks of several machines.
        peer: who asks, as gRPC calls it.
        metadata: that came with the call.
    """

    data: bytes
    remaining_s: float | None
    peer: str
    metadata: Sequence[tuple[str, str | bytes]] = ()


@dataclass(frozen=True, slots=True)
class WebRequest:
    """One request of HTTP, whole.

    Attributes:
        method: verb.
        path: without the query.
        query: as it came.
        headers: as they came.
        body: as it came.
        client: address of who asks.
    """

    method: str
    path: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    client: str


@dataclass(frozen=True, slots=True)
class WebReply:
    """One answer of HTTP, whole."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Raw:
    """Bytes that are a message already, for Ray, which asks of an answer nothing but this method."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802, protobuf's name
        """The bytes."""
        return self._data
