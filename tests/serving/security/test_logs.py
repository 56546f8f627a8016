import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.logs.access import entry_of_trail
from serving.tracing.spans import attributes_of
from tests.serving.security.apis import (
    Caller,
    get_models,
    infer_images,
    list_models,
    post_image,
    predict,
    server_metadata,
)
from tests.serving.security.conftest import Tokens
from tests.serving.servers import server_in_thread
from tests.serving.trails import recording_server

PROOF = "a line that shows that lines are heard"


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All lines of all loggers, whatever their level."""
    written = io.StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    handler.setLevel(logging.NOTSET)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_token_is_ever_logged_or_printed(
    model: Path, tokens: Tokens, image: bytes, everything_logged: io.StringIO, capfd: pytest.CaptureFixture[str]
):
    wrong = "ocella_d2hvLXJlYWRzLXRoaXMtc2hvdWxkLW5vdA"
    secrets = [tokens.texts["infer"], tokens.texts["expired"], wrong]
    logging.getLogger("serving").debug(PROOF)
    with server_in_thread(model, tokens=tokens.file, secrets_interval_s=0.01) as server:
        for text in secrets:
            for caller in (
                Caller(server=server).bearing(text),
                Caller(server=server, authorization=(f"Basic {text}",)),
                Caller(server=server).bearing(text, text),
            ):
                for ask in (list_models, server_metadata, predict(image), predict(b"no image")):
                    caller.code(ask)
                caller.status(get_models)
                caller.status(lambda client: client.get("/metrics"))
    heard = everything_logged.getvalue() + "".join(capfd.readouterr())
    assert PROOF in heard
    assert [text for text in secrets if text in heard or text.removeprefix("ocella_") in heard] == []


async def test_lines_and_spans_of_each_api_name_the_token_and_spans_the_address_too(
    model: Path, tokens: Tokens, image: bytes
):
    async with recording_server(model, tokens=tokens.file) as (server, trails):
        caller = Caller(server=server).bearing(tokens.texts["infer"])
        for ask in (predict(image), infer_images(image), list_models, server_metadata):
            assert await asyncio.to_thread(caller.code, ask) == "OK"
        for ask in (post_image(image), get_models):
            assert await asyncio.to_thread(caller.status, ask) == "200"
        assert await asyncio.to_thread(Caller(server=server).status, get_models) == "401"
    *named, stranger = trails
    assert [dict(entry_of_trail(trail).fields)["client"] for trail in named] == ["infer-1"] * 6
    spans = [dict(attributes_of(trail)) for trail in named]
    assert [(span["enduser.id"], span["client.address"]) for span in spans] == [("infer-1", "127.0.0.1")] * 6
    assert dict(entry_of_trail(stranger).fields)["client"] == "127.0.0.1"
    assert "enduser.id" not in dict(attributes_of(stranger))


@pytest.mark.parametrize(
    ("path", "bearer", "status"),
    [
        ("/metrics", None, 401),
        ("/metrics", "infer", 403),
        ("/metrics", "metrics", 200),
        ("/openapi.json", None, 401),
        ("/readyz", None, 200),
        ("/no/such/path", None, 404),
    ],
)
async def test_what_is_no_path_of_models_is_neither_counted_nor_logged(
    model: Path, tokens: Tokens, path: str, bearer: str | None, status: int
):
    async with recording_server(model, tokens=tokens.file) as (server, trails):
        caller = Caller(server=server).bearing(*([tokens.texts[bearer]] if bearer else []))
        assert await asyncio.to_thread(caller.status, lambda client: client.get(path)) == str(status)
        assert server.metrics.call_meters == {}
    assert trails == []
