"""Binding a port, with one clear error where it cannot be had."""

from __future__ import annotations

import socket

from serving.settings import StartError

_BACKLOG = 128


def bind(host: str, port: int, *, protocol: str) -> socket.socket:
    """Bind and listen; raises StartError where the port is busy, naming the ``protocol`` that it was for."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"port {port} of {host} must be free for {protocol}: {error.strerror}") from error
    return listener
