import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipelines.types import identical
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from serving.dataplane import InferCall
from tests.serving.servers import PATIENCE_S, GatedSession, Offline, running_server, swap_session
from tests.serving.trails import until

MANY = 24


async def test_images_that_come_at_once_go_by_groups_and_equal_the_offline_ones(
    folders: dict[str, Path], offline: Offline, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(folders["classes"]) as server, AsyncVisionClient(server.grpc_address) as client:
        made[0].batches.clear()
        answers = [asyncio.create_task(client.predict("classes", photos[i % len(photos)])) for i in range(MANY)]
        await until(lambda: server.catalog.find("classes", 0).batcher.inside == MANY)
        made[0].gate.set()
        for i, answer in enumerate(answers):
            assert identical((await answer).result, offline("classes", photos[i % len(photos)]))
    assert sum(made[0].batches) == MANY
    assert max(made[0].batches) > 1


async def test_tensors_get_their_turn_while_images_never_end(server: ListeningServer, photos: list[bytes]):
    enough = asyncio.Event()

    async def send_images(client: AsyncVisionClient) -> None:
        while not enough.is_set():
            await client.predict("classes", photos[0])

    model = server.catalog.find("classes", 0)
    name = model.loaded.session.inputs[0].name
    row = np.zeros((1, *(size if isinstance(size, int) else 32 for size in model.loaded.session.inputs[0].shape[1:])))
    call = InferCall(model="classes", tensors={name: row.astype(model.loaded.session.inputs[0].dtype)})
    async with AsyncVisionClient(server.grpc_address) as client, asyncio.TaskGroup() as senders:
        for _ in range(8):
            senders.create_task(send_images(client))
        for _ in range(5):
            async with asyncio.timeout(PATIENCE_S):
                await server.plane.infer(call)
        enough.set()
