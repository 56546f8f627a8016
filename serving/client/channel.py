"""How both clients reach a server: addresses, deadlines and the options of a channel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal, TypeAlias

from pipelines.errors import InvalidRequestError

DEFAULT_SERVER = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_STREAM_TIMEOUT_S = 600.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024
KEEPALIVE_S = 30.0
# Where a name stands for several addresses, calls go to them in turn.
_ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A server that is starting is tried again soon; gRPC's own first pause is a second, its longest two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A connection that a router has forgotten is noticed, also while nothing is asked.
    ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # gRPC's own limit is two
    ("grpc.service_config", _ROUND_ROBIN),
    ("grpc.use_local_subchannel_pool", 1),  # a client's connections are its own, and end with it
)
MAX_TIMEOUT_S = 365 * 24 * 3600.0
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[\w:.%]+\]):([0-9]{1,5})")


class Default(Enum):
    """What a call is given that names no deadline of its own; ``None`` stands for no deadline at all."""

    OF_CLIENT = "the client's"


OF_CLIENT: Final = Default.OF_CLIENT
Timeout: TypeAlias = float | Literal[Default.OF_CLIENT] | None


def check_addresses(server: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses of one or several servers; raises InvalidRequestError for none, or a bad one."""
    addresses = (server,) if isinstance(server, str) else tuple(server)
    if not addresses:
        raise InvalidRequestError("server must be an address or several, got none")
    return tuple(map(check_address, addresses))


def check_address(server: str) -> str:
    """The address as it came; raises InvalidRequestError where it is not ``host:port`` (IPv6: ``[::1]:port``).

    gRPC alone would take port 99999 for 34463, and an address without a port for port 443.
    """
    match = _ADDRESS.fullmatch(server)
    if not match or not 1 <= int(match[1]) <= 65_535:
        raise InvalidRequestError(f"server must be host:port with a port from 1 to 65535, got {server!r}")
    return server


def check_timeout(timeout_s: float | None) -> float | None:
    """The timeout as it came; raises InvalidRequestError where it is not ``None`` or seconds from 0 to a year."""
    if timeout_s is None:
        return None
    if not isinstance(timeout_s, int | float) or not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequestError(f"timeout_s must be a number from 0 to {MAX_TIMEOUT_S:,.0f}, got {timeout_s!r}")
    return timeout_s
