"""What a client is told about its servers, checked once for both kinds of client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.client.channel import CHANNEL_OPTIONS, OF_CLIENT, Timeout, check_addresses, check_timeout
from serving.client.retry import Deadline, Retry
from serving.client.tls import Tls, authorization

ONCE = Retry(max_attempts=1)


@dataclass(frozen=True)
class ConnectionOptions:
    """Made by ``connection_options``, which checks.

    Attributes:
        servers: addresses, at least one.
        timeout_s: deadline of calls that do not give their own; ``None``: none.
        retry: which failed calls are made again.
        tls: ``None`` for a plain connection.
        metadata: sent with every call.
    """

    servers: tuple[str, ...]
    timeout_s: float | None
    retry: Retry
    tls: Tls | None
    metadata: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The servers in words."""
        return ", ".join(self.servers)

    @property
    def channel_options(self) -> tuple[tuple[str, int | str], ...]:
        """Of each channel."""
        return (*CHANNEL_OPTIONS, *(self.tls.options() if self.tls else ()))

    def deadline(self, timeout_s: Timeout) -> Deadline:
        """Of a call that begins now; raises InvalidRequestError for a timeout that gRPC cannot keep."""
        return Deadline(self.timeout_s if timeout_s is OF_CLIENT else check_timeout(timeout_s))


def connection_options(
    server: str | Sequence[str],
    *,
    timeout_s: float | None,
    retry: Retry | None,
    tls: Tls | None,
    token: str | None,
    allow_insecure_token: bool,
) -> ConnectionOptions:
    """Check what a client was made with; raises InvalidRequestError."""
    servers = check_addresses(server)
    metadata = authorization(token, servers, encrypted=tls is not None, allow_insecure_token=allow_insecure_token)
    return ConnectionOptions(servers, check_timeout(timeout_s), retry or ONCE, tls, metadata)
