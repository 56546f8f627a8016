"""Requests of HTTP that travel whole: to an ASGI application and back, without a connection."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.ray.messages import WebReply, WebRequest


async def answer_web(app: Any, request: WebRequest) -> WebReply:
    """What an ASGI application answers; one whose body is sent in parts comes back joined."""
    bodies = [request.body]
    started: dict[str, Any] = {}
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await asyncio.Event().wait()  # a client that left is told by cancelling the call
        raise AssertionError("nothing sets the event")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            parts.append(bytes(message.get("body", b"")))

    await app(_scope(request), receive, send)
    return WebReply(started["status"], list(started.get("headers", [])), b"".join(parts))


def _scope(request: WebRequest) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": (request.client, 0),
        "server": ("127.0.0.1", 0),
    }
