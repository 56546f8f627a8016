"""Clients that are killed, never read, or connect and say nothing: none holds up the others or keeps its window."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from pathlib import Path

import grpc.aio
import pytest

from pipelines.errors import FrameDroppedError
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, Prediction
from tests.packages import photo, png
from tests.serving.servers import PATIENCE_S, GatedSession, running_server, swap_session

ENDLESS = """
import itertools, sys
from pathlib import Path
from serving.client import VisionClient
image = Path(sys.argv[2]).read_bytes()
with VisionClient(sys.argv[1]) as client:
    for _ in client.predict_stream("classes", itertools.repeat(image), window=5, when_full=sys.argv[3]):
        pass
"""


def value(server: ListeningServer, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("when_full", ["block", "drop_oldest"])
async def test_a_client_that_is_killed_in_its_stream_gives_its_window_back(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when_full: str
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    (tmp_path / "photo.png").write_bytes(photos[0])
    async with running_server(repository) as server:
        batcher = server.catalog.find("classes", 1).batcher
        arguments = (sys.executable, "-c", ENDLESS, server.grpc_address, str(tmp_path / "photo.png"), when_full)
        killed = await asyncio.create_subprocess_exec(*arguments, cwd=Path(__file__).parents[2])
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < 5:
                await asyncio.sleep(0)
            killed.send_signal(signal.SIGKILL)
            assert await killed.wait() == -signal.SIGKILL
            await server.plane.wait_empty()
            while value(server, "ocella_streams_active"):
                await asyncio.sleep(0)
        assert (batcher.inside, batcher.queue_depth) == (0, 0)
        made[0].gate.set()
        async with AsyncVisionClient(server.grpc_address) as client:
            assert isinstance(await client.predict("classes", photos[0]), Prediction)


async def test_frames_that_a_server_cannot_keep_up_with_are_dropped_and_the_newest_is_answered(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    count = 20
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        stream = client.predict_stream("classes", photos[:1] * count, window=2, when_full="drop_oldest")
        answers = asyncio.create_task(_collect(stream))
        async with asyncio.timeout(PATIENCE_S):
            while value(server, "ocella_stream_frames_total", outcome="dropped") < count - 3:
                await asyncio.sleep(0)
        made[0].gate.set()
        kinds = [type(answer) for answer in await answers]
        assert len(kinds) == count
        assert (kinds[0], kinds[-1]) == (Prediction, Prediction)
        assert kinds.count(FrameDroppedError) == count - 3
        assert value(server, "ocella_stream_frames_total", outcome="dropped") == count - 3
        assert value(server, "ocella_stream_frames_total", outcome="answered") == 3
        assert server.catalog.find("classes", 1).batcher.inside == 0


async def _collect(stream) -> list[object]:
    return [answer async for answer in stream]


async def test_a_client_that_never_reads_is_read_no_further(server: ListeningServer, client: AsyncVisionClient):
    image = png(photo(size_wh=(300, 300)))
    frames = 2000  # their masks together are far more than gRPC's own windows hold
    request = pb.PredictRequest(model="masks", image=image, stream_options=pb.StreamOptions(window=4))
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = VisionStub(channel).PredictStream()

        async def send() -> None:
            for _ in range(frames):
                await call.write(request)

        sending = asyncio.create_task(send())
        before = -1.0
        async with asyncio.timeout(PATIENCE_S):
            while (
                answered := value(server, "ocella_stream_frames_total", outcome="answered")
            ) != before or not answered:
                before = answered
                for _ in range(10):  # meanwhile others are answered
                    assert isinstance(await client.predict("masks", image), Prediction)
        assert answered < frames
        assert not sending.done()
        assert server.catalog.find("masks", 1).batcher.inside == 0  # answers that wait hold no place
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await sending
        async with asyncio.timeout(PATIENCE_S):
            while value(server, "ocella_streams_active"):
                await asyncio.sleep(0)


@pytest.mark.slow
async def test_a_thousand_connections_that_send_nothing_hold_nobody_up(repository: Path, photos: list[bytes]):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1000
    needed = 2 * wanted + 500  # both ends of each are ours
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
            host, _, port = server.grpc_address.rpartition(":")
            silent = [await asyncio.open_connection(host, int(port)) for _ in range(wanted)]
            try:
                answers = await asyncio.gather(*(client.predict("classes", image) for image in photos * 4))
                assert {type(answer) for answer in answers} == {Prediction}
                async with AsyncVisionClient(server.grpc_address) as newcomer:
                    assert isinstance(await newcomer.predict("classes", photos[0]), Prediction)
            finally:
                for _, writer in silent:
                    writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
