import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from pipelines.errors import DeadlineExceededError, ServiceUnavailableError, UnknownModelError
from serving.app import ListeningServer, listening
from serving.client import AsyncVisionClient
from tests.packages import edit_manifest, make_package
from tests.serving.servers import PATIENCE_S, settings_for

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def starting(tmp_path: Path) -> AsyncIterator[ListeningServer]:
    """A server that listens, of whose two models one will load."""
    make_package(tmp_path / "good" / "1", name="good")
    make_package(tmp_path / "bad" / "1", name="bad")
    edit_manifest(tmp_path / "bad" / "1", lambda raw: raw["image"].update(color="bgr"), reseal=False)
    async with listening(settings_for(tmp_path)) as server:
        yield server


async def check(server: ListeningServer, service: str) -> int:
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        return (await HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=PATIENCE_S)).status


async def test_nothing_serves_before_the_models_are_loaded(starting: ListeningServer):
    assert [await check(starting, name) for name in ("", "good", "bad")] == [NOT_SERVING] * 3


async def test_a_model_that_fails_takes_neither_the_server_nor_the_others_out(starting: ListeningServer):
    await starting.load()
    assert [await check(starting, name) for name in ("", "good", "bad")] == [SERVING, SERVING, NOT_SERVING]


async def test_checking_an_unknown_name_is_not_found(starting: ListeningServer):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(starting, "cats")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_the_start_and_the_stop(starting: ListeningServer):
    async with grpc.aio.insecure_channel(starting.grpc_address) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=PATIENCE_S)
        seen = [(await watch.read()).status]
        await starting.load()
        seen.append((await watch.read()).status)
        starting.catalog.drain()
        seen.append((await watch.read()).status)
        assert seen == [NOT_SERVING, SERVING, NOT_SERVING]
        assert await watch.read() is grpc.aio.EOF


async def test_watching_an_unknown_name_says_so_and_keeps_watching(starting: ListeningServer):
    async with grpc.aio.insecure_channel(starting.grpc_address) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service="cats"), timeout=PATIENCE_S)
        assert (await watch.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
        waiting = asyncio.ensure_future(watch.read())
        await starting.load()
        assert not waiting.done()
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_the_client_waits_until_a_model_is_ready(starting: ListeningServer):
    async with AsyncVisionClient(starting.grpc_address, timeout_s=PATIENCE_S) as client:
        waiting = asyncio.create_task(client.wait_ready("good"))
        assert not await client.is_ready("good")
        assert not waiting.done()
        await starting.load()
        await waiting
        assert await client.is_ready("good")


async def test_the_client_waits_no_longer_than_it_was_told(starting: ListeningServer):
    await starting.load()
    async with AsyncVisionClient(starting.grpc_address) as client:
        with pytest.raises(DeadlineExceededError):
            await client.wait_ready("bad", timeout_s=0.1)


async def test_the_client_does_not_wait_for_a_name_that_nobody_knows(starting: ListeningServer):
    async with AsyncVisionClient(starting.grpc_address) as client:
        with pytest.raises(UnknownModelError, match="knows no model called 'cats'"):
            await client.wait_ready("cats")
        with pytest.raises(UnknownModelError):
            await client.is_ready("cats")


async def test_the_client_does_not_wait_for_a_server_that_stops(starting: ListeningServer):
    starting.catalog.drain()
    async with AsyncVisionClient(starting.grpc_address) as client:
        with pytest.raises(ServiceUnavailableError, match="is stopping"):
            await client.wait_ready()


async def test_the_services_are_found_by_reflection(starting: ListeningServer):
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
    from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

    assert DescriptorPool()
    async with grpc.aio.insecure_channel(starting.grpc_address) as channel:
        call = ServerReflectionStub(channel).ServerReflectionInfo(timeout=PATIENCE_S)
        await call.write(ServerReflectionRequest(list_services=""))
        names = {service.name for service in (await call.read()).list_services_response.service}
        await call.write(ServerReflectionRequest(file_containing_symbol="ocella.v1.Vision"))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
    assert names == {
        "ocella.v1.Faces",
        "ocella.v1.Vision",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
