"""What the server is told: read once, at the edge, from arguments, then ``OCELLA_*`` variables, then defaults."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.errors import OcellaError

Port = Annotated[int, Field(ge=0, le=65_535)]


class StartError(OcellaError):
    """The server cannot start as it was told to."""


class Settings(BaseSettings):
    """One server's settings.

    Attributes:
        models: repositories or package folders; empty means the embedded default repository.
        host: address to bind, for gRPC and HTTP.
        port: gRPC; 0 lets the system choose.
        http_port: HTTP; 0 lets the system choose.
        insecure: allow a ``host`` that other machines can reach, though nothing is encrypted or authenticated.
        grace_s: longest time that a stop waits for requests in flight.
        max_image_bytes: of one encoded image.
        max_image_pixels: of one decoded image.
        stream_window: requests of one stream in work at once, where the client does not say.
    """

    model_config = SettingsConfigDict(env_prefix="OCELLA_", frozen=True)

    models: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: Port = 8001
    http_port: Port = 8000
    insecure: bool = False
    grace_s: Annotated[float, Field(ge=0)] = 30.0
    max_image_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    max_image_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    stream_window: Annotated[int, Field(ge=1, le=256)] = 8


def check_exposure(settings: Settings) -> None:
    """Raise StartError where ``host`` can be reached from other machines without ``insecure``."""
    if not settings.insecure and not is_loopback(settings.host):
        raise StartError(
            f"host must be a loopback address unless --insecure is given, got {settings.host}: "
            "anybody who reaches it could use the server"
        )


def is_loopback(host: str) -> bool:
    """Whether every address of ``host`` stays on this machine; raises StartError where it has none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"host {host!r} has no address: {error.strerror}") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
