"""Binding a port, with one clear error where it cannot be had."""

from __future__ import annotations

import socket

from serving.settings import StartError

_BACKLOG = 128


def bind(host: str, port: int, *, protocol: str, shared: bool = False) -> socket.socket:
    """Bind and listen; raises StartError where the port is busy, naming the ``protocol`` that it was for.

    ``shared``: beside other processes of ours that do the same, each of which gets a part of the connections.
    """
    listener = _bound(host, port, protocol, shared=shared)
    listener.listen(_BACKLOG)
    return listener


def hold(host: str, port: int, *, protocol: str) -> socket.socket:
    """Bind a port to be shared, without listening; raises StartError where it is busy."""
    return _bound(host, port, protocol, shared=True)


def _bound(host: str, port: int, protocol: str, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol's number asyncio knows connections of TCP and lets them send at once. An answer is two writes,
    # and the second would wait 40 ms for the client's delayed acknowledgement of the first (Nagle's algorithm).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"port {port} of {host} must be free for {protocol}: {error.strerror}") from error
    return listener
