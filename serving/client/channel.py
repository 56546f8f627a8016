"""How both clients reach a server."""

from __future__ import annotations

import re

from pipelines.errors import InvalidRequestError

DEFAULT_SERVER = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_STREAM_TIMEOUT_S = 600.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A server that is starting is tried again soon; gRPC's own first pause is a second, its longest two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
MAX_TIMEOUT_S = 365 * 24 * 3600.0
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[\w:.%]+\]):([0-9]{1,5})")


def check_address(server: str) -> str:
    """The address as it came; raises InvalidRequestError where it is not ``host:port`` (IPv6: ``[::1]:port``).

    gRPC alone would take port 99999 for 34463, and an address without a port for port 443.
    """
    match = _ADDRESS.fullmatch(server)
    if not match or not 1 <= int(match[1]) <= 65_535:
        raise InvalidRequestError(f"server must be host:port with a port from 1 to 65535, got {server!r}")
    return server


def check_timeout(timeout_s: float) -> float:
    """The timeout as it came; raises InvalidRequestError where it is not a number of seconds from 0 to a year."""
    if not isinstance(timeout_s, int | float) or not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequestError(f"timeout_s must be a number from 0 to {MAX_TIMEOUT_S:,.0f}, got {timeout_s!r}")
    return timeout_s
