import asyncio
import re
import threading

import pytest

from pipelines.errors import DrainingError, ServiceUnavailableError
from serving.client import AsyncVisionClient, Retry, VisionClient
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.servers import PATIENCE_S

CLOSED = r"the client of 127\.0\.0\.1:\d+ was closed while the call ran"


def failure_of_call_during_close(client: VisionClient, entered: threading.Event) -> BaseException:
    """What a call that ``entered`` raises when its client is closed."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            client.predict("m", b"")
        except BaseException as error:  # noqa: BLE001, looked at by the test
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert entered.wait(PATIENCE_S)
    client.close()
    thread.join(PATIENCE_S)
    return raised[0]


def test_closing_a_client_ends_a_call_with_our_own_error():
    servicer = Scripted()
    servicer.gate.clear()
    with serving(servicer) as address:
        error = failure_of_call_during_close(VisionClient(address, timeout_s=PATIENCE_S), servicer.entered)
    assert isinstance(error, ServiceUnavailableError)
    assert re.fullmatch(CLOSED, str(error))


def test_closing_a_client_ends_a_pause_before_the_next_attempt():
    hours = Retry(first_pause_s=3600.0, max_pause_s=3600.0)
    servicer = Scripted(refusals=[DrainingError("stopping")])
    with serving(servicer) as address:
        error = failure_of_call_during_close(VisionClient(address, timeout_s=9000.0, retry=hours), servicer.entered)
    assert isinstance(error, ServiceUnavailableError)
    assert re.fullmatch(CLOSED, str(error))


async def test_closing_an_async_client_cancels_nobody_and_says_so():
    servicer = Scripted()
    servicer.gate.clear()
    with serving(servicer) as address:
        client = AsyncVisionClient(address, timeout_s=PATIENCE_S)
        call = asyncio.create_task(client.predict("m", b""))
        assert await asyncio.to_thread(servicer.entered.wait, PATIENCE_S)
        await client.close()
        with pytest.raises(ServiceUnavailableError, match=CLOSED):
            await call


async def test_closing_an_async_client_ends_a_pause_before_the_next_attempt():
    hours = Retry(first_pause_s=3600.0, max_pause_s=3600.0)
    servicer = Scripted(refusals=[DrainingError("stopping")])
    with serving(servicer) as address:
        client = AsyncVisionClient(address, timeout_s=9000.0, retry=hours)
        call = asyncio.create_task(client.predict("m", b""))
        assert await asyncio.to_thread(servicer.entered.wait, PATIENCE_S)
        await client.close()
        with pytest.raises(ServiceUnavailableError, match=CLOSED):
            await call


async def test_a_task_that_is_cancelled_stays_cancelled():
    servicer = Scripted()
    servicer.gate.clear()
    with serving(servicer) as address:
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S) as client:
            call = asyncio.create_task(client.predict("m", b""))
            assert await asyncio.to_thread(servicer.entered.wait, PATIENCE_S)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_a_client_may_be_closed_twice():
    with VisionClient() as client:
        client.close()
    async with AsyncVisionClient() as client:
        await client.close()


async def test_no_deadline_at_all_is_only_what_is_asked_for():
    with serving(Scripted()) as address:
        with VisionClient(address) as client:
            assert client.predict("m", b"", timeout_s=None, id="sync").id == "sync"
        async with AsyncVisionClient(address, timeout_s=None) as client:
            assert (await client.predict("m", b"", id="async")).id == "async"
