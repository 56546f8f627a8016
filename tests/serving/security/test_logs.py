import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.security.apis import Caller, get_models, list_models, predict, server_metadata
from tests.serving.security.conftest import Tokens
from tests.serving.servers import server_in_thread

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
