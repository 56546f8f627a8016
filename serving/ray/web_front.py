"""HTTP of a cluster: probes and metrics of all, and the paths of a model, handed to one of its replicas."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from grpc import StatusCode
from prometheus_client import exposition
from starlette.requests import Request
from starlette.responses import Response

from serving.ray.messages import WebReply, WebRequest
from serving.ray.overview import Overview
from serving.ray.router import Router
from serving.ray.standing import Standing
from serving.rest.gate import Door
from serving.rest.management import list_models
from serving.rest.reply import Reply, document_reply, failure_reply
from serving.status import Failure, Status

_OF_MODEL = re.compile(r"/v[12]/models/([^/:]+)(?:[/:].*)?")
_NOT_OF_ONE = frozenset({"stats"})  # /v2/models/stats is of all
_NOT_HERE = Status(StatusCode.UNIMPLEMENTED, 501)


class WebFront:
    """Answers requests of HTTP."""

    def __init__(
        self, router: Router, standing: Standing, overview: Overview, board: Any, *, door: Door, max_body: int
    ) -> None:
        """``board``: handle of the metrics' board; ``door``: who may ask; ``max_body``: bytes of a body."""
        self._router = router
        self._standing = standing
        self._overview = overview
        self._board = board
        self._door = door
        self._max_body = max_body

    async def answer(self, request: Request) -> Response:
        """One request."""
        if refused := self._door.refusal(request.headers):
            return _response(failure_reply(refused))
        path = request.url.path
        match path:
            case "/healthz":
                return Response(b"ok\n", media_type="text/plain")
            case "/readyz":
                return self._ready()
            case "/metrics":
                return Response(await self._board.scrape.remote(), media_type=exposition.CONTENT_TYPE_LATEST)
            case "/v1/models":
                return _response(document_reply(list_models(await self._overview.statuses())))
        found = _OF_MODEL.fullmatch(path)
        if found and found[1] not in _NOT_OF_ONE:
            return await self._of_model(unquote(found[1]), request)
        message = f"{path[:128]!r} is not offered on Ray: the paths of one model are, /v1/models and /metrics"
        return _response(failure_reply(Failure(_NOT_HERE, "NotOfferedError", message)))

    def _ready(self) -> Response:
        states = self._standing.all().values()
        ready, answering = bool(self._standing.is_serving("")), sum(state.answers for state in states)
        body = {"ready": ready, "models_ready": answering, "models_not_ready": len(states) - answering}
        return Response(json.dumps(body), media_type="application/json", status_code=200 if ready else 503)

    async def _of_model(self, model: str, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._max_body:
                message = f"a body must have at most {self._max_body:,} bytes"
                too_large = Status(StatusCode.INVALID_ARGUMENT, 413)
                return _response(failure_reply(Failure(too_large, "RequestTooLargeError", message)))
        client = request.client.host if request.client else ""
        asked = WebRequest(
            request.method,
            request.url.path,
            request.scope["query_string"],
            list(request.scope["headers"]),
            bytes(body),
            client,
        )
        answered = await self._router.web(model, asked)
        if isinstance(answered, WebReply):
            response = Response(answered.body, answered.status)
            response.raw_headers = list(answered.headers)
            return response
        return _response(failure_reply(answered))


def _response(reply: Reply) -> Response:
    return Response(b"".join(reply.parts), reply.status, dict(reply.headers), reply.media_type)
