"""A reload while a request is on its way in."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from tests.builders import classification_head
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S, running_server


async def test_a_version_that_came_while_the_body_did_answers(tmp_path: Path, photos: list[bytes]):
    def add(version: int) -> None:
        folder = tmp_path / "classes" / str(version)
        make_package(folder, graph=classifier_graph(), head=classification_head(), name="classes", version=version)

    add(1)
    async with running_server(tmp_path, probation_s=0) as server:

        async def body() -> AsyncIterator[bytes]:
            yield photos[0][:1000]
            add(2)
            await server.lifecycle.load("classes")
            yield photos[0][1000:]

        async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
            answer = await http.post("/v1/models/classes:predict", content=body(), timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
