"""Who may listen to a connection, and who is calling: TLS and bearer tokens."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from pipelines.errors import InvalidRequestError

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1


@dataclass(frozen=True, kw_only=True)
class Tls:
    """An encrypted connection; each certificate and key is PEM, a path or the bytes themselves.

    Attributes:
        root_certificates: whose signature on the server's certificate is trusted; ``None``: those that come with gRPC.
        certificate: our own, for a server that asks its clients for one (mutual TLS); with ``key``.
        key: of our certificate.
        server_name: the name that the server's certificate must hold, where it is not the host of the address.
    """

    root_certificates: str | Path | bytes | None = None
    certificate: str | Path | bytes | None = None
    key: str | Path | bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given = "certificate" if self.key is None else "key"
            raise InvalidRequestError(f"certificate and key must come together, got the {given} alone")

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC makes of them; raises InvalidRequestError for a file that cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_pem(self.root_certificates, "root_certificates"),
            private_key=_pem(self.key, "key"),
            certificate_chain=_pem(self.certificate, "certificate"),
        )

    def options(self) -> tuple[tuple[str, str], ...]:
        """Options of the channel."""
        return (("grpc.ssl_target_name_override", self.server_name),) if self.server_name else ()


def authorization(
    token: str | None, servers: Sequence[str], *, encrypted: bool, allow_insecure_token: bool
) -> tuple[tuple[str, str], ...]:
    """The metadata that says who is calling, none without a token.

    Raises:
        InvalidRequestError: the token could not be sent, or anybody between here and the server could read it.
    """
    if token is None:
        return ()
    if not _TOKEN.fullmatch(token):
        raise InvalidRequestError("token must be letters, digits and -._~+/ with = at its end, got something else")
    far = [server for server in servers if not is_loopback(server)]
    if far and not encrypted and not allow_insecure_token:
        raise InvalidRequestError(
            f"a token must travel encrypted to {far[0]}: give tls=Tls(), or allow_insecure_token=True"
        )
    return (("authorization", f"Bearer {token}"),)


def is_loopback(server: str) -> bool:
    """Whether ``host:port`` is this machine by its very name."""
    host = server.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pem(source: str | Path | bytes | None, name: str) -> bytes | None:
    if isinstance(source, str | Path):
        try:
            data: bytes | None = Path(source).read_bytes()
        except OSError as error:
            raise InvalidRequestError(f"{name} must be a file that can be read: {source}: {error.strerror}") from error
    else:
        data = source
    if data is not None and b"-----BEGIN " not in data:
        raise InvalidRequestError(f"{name} must be PEM, got something else")
    return data
