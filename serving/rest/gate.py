"""Who may ask: a request's Host must be one of ours, and a web page's Origin our own."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from serving.rest.body import Receive
from serving.rest.reply import Send, failure_reply, send_reply
from serving.status import Failure, Status

ANY_HOST = "*"


class Door:
    """Which hosts and origins a request may name."""

    def __init__(self, allowed_hosts: tuple[str, ...]) -> None:
        """``allowed_hosts``: names without port, ``*`` for all."""
        self._hosts = frozenset(host.lower() for host in allowed_hosts)

    def refusal(self, headers: Headers) -> Failure | None:
        """Why a request with these headers is refused; ``None``: it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if ANY_HOST not in self._hosts and name.lower() not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            message = f"host must be one of {allowed}, got {host[:64]!r}"
            return Failure(Status(StatusCode.INVALID_ARGUMENT, 400), "UnknownHostError", message)
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            message = f"a page must be of this server ({host[:64]}) to ask it, origin is {origin[:64]!r}"
            return Failure(Status(StatusCode.PERMISSION_DENIED, 403), "ForeignOriginError", message)
        return None


class Gate:
    """ASGI middleware; no page of another site reaches us, neither by a DNS trick nor by a form."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: tuple[str, ...]) -> None:
        """``allowed_hosts``: as of ``Door``."""
        self._app = app
        self._door = Door(allowed_hosts)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        failure = self._door.refusal(Headers(scope=scope))
        if failure:
            await send_reply(failure_reply(failure), send)
        else:
            await self._app(scope, receive, send)
