"""One HTTP request from its headers to its answer: counted once, ended when its client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.datastructures import Headers

from pipelines.errors import DrainingError, InvalidRequestError, NotAllowedError, OcellaError, UnauthenticatedError
from serving.oip.requests import read_version
from serving.rest.body import ClientLeftError, Receive, deadline_after, read_body
from serving.rest.parts import Ask, Endpoint, RestParts
from serving.rest.query import TIMEOUT, read_query, read_timeout
from serving.rest.reply import Reply, Send, failure_reply, pack_for, send_reply
from serving.status import Failure, failure_of
from serving.trail import arrive, current_arrival, received


class EndpointApp:
    """An ASGI application that answers one path."""

    def __init__(self, endpoints: Mapping[str, Endpoint], parts: RestParts) -> None:
        """``endpoints``: of the path, by verb; its route lets no other through but HEAD, which is GET's."""
        self._endpoints = endpoints
        self._parts = parts

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        verb = scope["method"]
        endpoint = self._endpoints["GET" if verb == "HEAD" else verb]
        arrive(replace(current_arrival(), route=f"{verb} {endpoint.path}"))
        call = _Call(endpoint, self._parts, scope, headers, receive)
        try:
            reply = await call.answer()
            await send_reply(await pack_for(reply, headers, self._parts.pixels), send)
        except asyncio.CancelledError:
            if call.left:
                return
            await send_reply(failure_reply(failure_of(DrainingError("the server is stopping"), request_id="")), send)
        finally:
            call.close()


class _Call:
    """One request; ``left`` says whether its client went away while it was answered."""

    def __init__(self, endpoint: Endpoint, parts: RestParts, scope: Any, headers: Headers, receive: Receive) -> None:
        self.left = False
        self._endpoint = endpoint
        self._parts = parts
        self._scope = scope
        self._headers = headers
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    async def answer(self) -> Reply:
        """The reply, also where it is a failure."""
        endpoint, scope = self._endpoint, self._scope
        path = scope["path_params"]
        refused: OcellaError | None = None
        query, client, longest_s = {}, _client(scope), self._parts.longest_s
        deadline = deadline_after(longest_s)
        try:
            if caller := self._named_caller():
                client = caller
                arrive(replace(current_arrival(), caller=caller))
            query = read_query(scope["query_string"].decode("latin-1"), (*endpoint.query, TIMEOUT))
            deadline = deadline_after(min(read_timeout(query), longest_s))
        except (InvalidRequestError, NotAllowedError, UnauthenticatedError) as error:
            refused = error

        async def work() -> Reply:
            if refused:
                raise refused
            return await endpoint.work(
                Ask(self._parts, path, query, self._headers, client, deadline, lambda: self._read(deadline))
            )

        named = _named(path) if endpoint.runs else {}
        outcome = await self._parts.oip.calls.run(endpoint.name, work(), deadline=deadline, client=client, **named)
        return failure_reply(outcome) if isinstance(outcome, Failure) else outcome

    def _named_caller(self) -> str:
        """The name of the request's token, empty without one; raises UnauthenticatedError, NotAllowedError."""
        access = self._parts.access
        return access.require(self._headers.getlist("authorization"), self._endpoint.role) if access else ""

    def close(self) -> None:
        """Look for the client's leaving no more."""
        if self._watch:
            self._watch.cancel()

    async def _read(self, deadline: float) -> bytes:
        parts = self._parts
        try:
            body = await read_body(
                self._receive,
                self._headers,
                parts.pixels,
                limit=parts.max_body,
                deadline=deadline,
                uploads=parts.uploads,
            )
        except ClientLeftError:
            self.left = True
            raise asyncio.CancelledError from None
        received(len(body))
        task = asyncio.current_task()
        assert task, "an endpoint is a task of the HTTP server"
        self._watch = asyncio.create_task(self._cancel_when_left(task))
        return body

    async def _cancel_when_left(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        task.cancel()


def _client(scope: Any) -> str:
    """Who asks, by connection."""
    client = scope.get("client")
    return f"http:{client[0]}:{client[1]}" if client else "http"


def _named(path: Any) -> dict[str, Any]:
    """Model and version of the path; nothing of a version that is none."""
    version = 0
    with suppress(InvalidRequestError):
        version = read_version(path.get("version", ""))
    return {"model": path["name"], "version": version}
