"""A reload while a request is on its way in, or between the images of one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.session import GraphSession
from serving.app import ListeningServer
from tests.builders import classification_head
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.security.apis import Caller, infer_images
from tests.serving.servers import PATIENCE_S, GatedSession, running_server, swap_session


def add(root: Path, version: int) -> None:
    folder = root / "classes" / str(version)
    make_package(folder, graph=classifier_graph(), head=classification_head(), name="classes", version=version)


@asynccontextmanager
async def asking(server: ListeningServer) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://{server.http_address}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=PATIENCE_S) as http:
        yield http


async def test_a_version_that_came_while_the_body_did_answers(tmp_path: Path, photos: list[bytes]):
    add(tmp_path, 1)
    async with running_server(tmp_path, probation_s=0) as server, asking(server) as http:

        async def body() -> AsyncIterator[bytes]:
            yield photos[0][:1000]
            add(tmp_path, 2)
            await server.lifecycle.load("classes")
            yield photos[0][1000:]

        answer = await http.post("/v1/models/classes:predict", content=body())
    assert (answer.status_code, answer.json()["version"]) == (200, 2)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> list[GatedSession]:
    """The session of the version that is loaded first, which waits for its gate."""
    made: list[GatedSession] = []

    def gate_the_first(session: GraphSession) -> Any:
        if made:
            return session
        made.append(GatedSession(session))
        return made[0]

    swap_session(monkeypatch, "classes", gate_the_first)
    return made


async def reloaded_meanwhile(
    root: Path, gates: list[GatedSession], ask: Callable[[ListeningServer], Any]
) -> tuple[Any, list[int]]:
    """What is answered to a request of many images where another version comes during the first, and all batches."""
    add(root, 1)
    (root / "classes" / "deploy.toml").write_text("[batching]\nmax_size = 1\n")  # so that not all are inside at once
    async with running_server(root, probation_s=0) as server:
        asked = asyncio.ensure_future(ask(server))
        assert await asyncio.to_thread(gates[0].entered.acquire, timeout=PATIENCE_S)
        add(root, 2)
        await server.lifecycle.load("classes")
        assert not asked.done()
        gates[0].gate.set()
        return await asked, gates[0].batches


async def test_all_images_of_a_request_over_http_are_answered_by_one_version(
    tmp_path: Path, photos: list[bytes], gates: list[GatedSession]
):
    async def ask(server: ListeningServer) -> httpx.Response:
        async with asking(server) as http:
            return await http.post("/v1/models/classes:predict", files=[("image", image) for image in photos])

    answer, batches = await reloaded_meanwhile(tmp_path, gates, ask)
    assert answer.status_code == 200
    assert answer.json()["version"] == 1
    assert len(answer.json()["predictions"]) == len(photos) == sum(batches)


async def test_all_images_of_a_request_over_the_inference_protocol_are_answered_by_one_version(
    tmp_path: Path, photos: list[bytes], gates: list[GatedSession]
):
    async def ask(server: ListeningServer) -> str:
        return await asyncio.to_thread(Caller(server=server).code, infer_images(*photos))

    code, batches = await reloaded_meanwhile(tmp_path, gates, ask)
    assert (code, sum(batches)) == ("OK", len(photos))
