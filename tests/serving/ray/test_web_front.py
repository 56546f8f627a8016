"""HTTP of a cluster; replicas and the board are played by objects of our own."""

import json
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from starlette.requests import Request
from starlette.responses import Response

from pipelines.errors import UnknownModelError
from serving.catalog import ModelStatus
from serving.ray.messages import WebReply, WebRequest
from serving.ray.standing import Standing, State
from serving.ray.web_front import WebFront
from serving.rest.gate import Door
from serving.status import Failure, failure_of


class Replicas:
    """In the place of a router and of an overview."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, WebRequest]] = []

    async def web(self, model: str, request: WebRequest) -> WebReply | Failure:
        self.asked.append((model, request))
        if model != "cats":
            return failure_of(UnknownModelError("no such model"), request_id="")
        return WebReply(200, [(b"x-from", b"replica")], b"answer")

    async def statuses(self) -> tuple[ModelStatus, ...]:
        return (ModelStatus("cats", 1, "classification", ""),)


class Board:
    """In the place of Ray's handle."""

    def __init__(self) -> None:
        self.scrape = self

    async def remote(self) -> str:
        return "ocella_images_total 1.0\n"


async def answered(
    path: str, *, replicas: Replicas | None = None, body: bytes = b"", host: str = "127.0.0.1:8000", **states: State
) -> Response:
    replicas, standing = replicas or Replicas(), Standing()
    standing.put(states or {"cats": State(1, settled=True, reason="")})
    door = Door(("127.0.0.1",))
    front = WebFront(replicas, standing, replicas, Board(), door=door, max_body=8)  # type: ignore[arg-type]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"top_k=1",
        "headers": [(b"host", host.encode())],
        "client": ("192.0.2.7", 1),
        "server": ("127.0.0.1", 8000),
    }
    return await front.answer(Request(scope, receive))


@pytest.mark.parametrize(
    "path", ["/v1/models/cats:predict", "/v2/models/cats/infer", "/v2/models/cats", "/v2/models/cats/stats"]
)
async def test_a_path_of_a_model_is_answered_by_one_of_its_replicas(path: str):
    replicas = Replicas()
    response = await answered(path, replicas=replicas, body=b"image")
    ((model, request),) = replicas.asked
    assert (response.status_code, response.body, response.headers["x-from"]) == (200, b"answer", "replica")
    assert (model, request.path, request.query, request.body) == ("cats", path, b"top_k=1", b"image")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/dogs:predict", 404),
        ("/v2/models/stats", 501),
        ("/v2/repository/index", 501),
        ("/nothing", 501),
    ],
)
async def test_other_paths_are_refused_as_json(path: str, status: int):
    response = await answered(path)
    assert response.status_code == status
    assert set(json.loads(response.body)) >= {"code", "reason", "message"}


async def test_a_body_beyond_the_limit_reaches_no_replica():
    replicas = Replicas()
    response = await answered("/v1/models/cats:predict", replicas=replicas, body=b"123456789")
    assert response.status_code == 413
    assert replicas.asked == []


@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/v1/models/cats:predict"])
async def test_a_host_that_is_not_ours_is_refused(path: str):
    assert (await answered(path, host="elsewhere.example")).status_code == 400


async def test_readiness_says_how_many_models_answer():
    ready = await answered("/readyz", cats=State(1, settled=True, reason=""), dogs=State(0, settled=True, reason="no"))
    assert (ready.status_code, json.loads(ready.body)) == (
        200,
        {"ready": True, "models_ready": 1, "models_not_ready": 1},
    )
    assert (await answered("/readyz", cats=State())).status_code == 503


async def test_models_and_metrics_are_those_of_all():
    assert json.loads((await answered("/v1/models")).body)["models"][0]["name"] == "cats"
    assert b"ocella_images_total 1.0" in (await answered("/metrics")).body
