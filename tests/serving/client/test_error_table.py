"""Each row of the table of errors through a real connection: both clients raise the error that the server meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

import pipelines.errors as errors
from pipelines.errors import OcellaError, OverloadedError, ServerFaultError
from serving.client import AsyncVisionClient, VisionClient
from serving.status import STATUS, failure_of
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.servers import PATIENCE_S

HINT_S = 0.75
OF_GRPC = [kind for kind in STATUS if kind.__module__ == errors.__name__]  # the others are of HTTP alone
TEXT = "what must hold: at most 3 pixels, got 7 — «ä»"  # also what is no ASCII arrives


def blocking(address: str) -> None:
    with VisionClient(address, timeout_s=PATIENCE_S, retry=None) as client:
        client.predict("m", b"image")


def awaited(address: str) -> None:
    async def ask() -> None:
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S, retry=None) as client:
            await client.predict("m", b"image")

    asyncio.run(ask())


CLIENTS = [blocking, awaited]


@pytest.fixture
def refusing() -> Iterator[Callable[[BaseException], str]]:
    """The address of a server that refuses its next call with an error."""
    servicer = Scripted()
    with serving(servicer) as address:

        def to_refuse(error: BaseException) -> str:
            servicer.refuse_next(error)
            return address

        yield to_refuse


def made(kind: type[BaseException]) -> BaseException:
    return OverloadedError(TEXT, retry_after_s=HINT_S) if kind is OverloadedError else kind(TEXT)


@pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("kind", OF_GRPC, ids=lambda kind: kind.__name__)
def test_a_row_arrives_with_its_type_its_text_and_its_hint(
    refusing: Callable[[BaseException], str], kind: type[BaseException], ask: Callable[[str], None]
):
    with pytest.raises(OcellaError) as caught:
        ask(refusing(made(kind)))
    assert type(caught.value) is kind
    assert str(caught.value) == TEXT
    assert getattr(caught.value, "retry_after_s", None) == (HINT_S if kind is OverloadedError else None)


@pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)
def test_an_error_that_no_row_names_is_the_servers_fault_and_tells_nothing(
    refusing: Callable[[BaseException], str], ask: Callable[[str], None]
):
    fault = KeyError("secret")
    with pytest.raises(ServerFaultError) as caught:
        ask(refusing(fault))
    assert str(caught.value) == failure_of(fault, request_id="7").message
    assert "secret" not in str(caught.value)
