import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from serving.ray.messages import WebRequest
from serving.ray.web import answer_web


async def echo(request: Request) -> JSONResponse:
    told = {
        "method": request.method,
        "path": request.url.path,
        "query": dict(request.query_params),
        "kind": request.headers["content-type"],
        "body": (await request.body()).decode(),
        "client": request.client.host if request.client else None,
    }
    return JSONResponse(told, status_code=201, headers={"x-told": "yes"})


async def in_parts(_: Request) -> StreamingResponse:
    async def parts() -> Any:
        for part in (b"a", b"b", b"c"):
            yield part

    return StreamingResponse(parts())


APP = Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/parts", in_parts)])


async def test_a_request_arrives_whole_and_its_answer_comes_back_whole():
    asked = WebRequest("POST", "/echo", b"a=1&b=2", [(b"content-type", b"text/plain")], b"body", "192.0.2.7")
    reply = await answer_web(APP, asked)
    assert reply.status == 201
    assert dict(reply.headers)[b"x-told"] == b"yes"
    assert json.loads(reply.body) == {
        "method": "POST",
        "path": "/echo",
        "query": {"a": "1", "b": "2"},
        "kind": "text/plain",
        "body": "body",
        "client": "192.0.2.7",
    }


async def test_an_answer_that_is_sent_in_parts_is_joined():
    assert (await answer_web(APP, WebRequest("GET", "/parts", b"", [], b"", ""))).body == b"abc"
