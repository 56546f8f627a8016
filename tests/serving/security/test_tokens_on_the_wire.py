from collections.abc import Callable, Iterator

import pytest

from serving.app import ListeningServer
from tests.serving.security.apis import Caller, get_models, list_models, server_metadata
from tests.serving.security.conftest import Tokens
from tests.serving.security.matrix import documented
from tests.serving.servers import server_in_thread

FAULTS: dict[str, Callable[[Caller, dict[str, str]], Caller]] = {
    "no token": lambda caller, _: caller,
    "token that is not known": lambda caller, texts: caller.bearing(texts["infer"][:-1]),
    "token expired": lambda caller, texts: caller.bearing(texts["expired"]),
    "token without the role": lambda caller, texts: caller.bearing(texts["metrics"]),
    "authorization of another form": lambda caller, _: Caller(server=caller.server, authorization=("Basic YTpi",)),
    "authorization twice": lambda caller, texts: caller.bearing(texts["infer"], texts["infer"]),
}


@pytest.fixture(scope="module")
def guarded(model, tokens: Tokens) -> Iterator[ListeningServer]:
    """A server that asks its callers for tokens."""
    with server_in_thread(model, tokens=tokens.file) as server:
        yield server


def test_a_token_with_the_role_is_served_by_each_api(guarded: ListeningServer, tokens: Tokens):
    caller = Caller(server=guarded).bearing(tokens.texts["infer"])
    answers = (caller.code(list_models), caller.code(server_metadata), caller.status(get_models))
    assert answers == ("OK", "OK", "200")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_bad_token_is_answered_as_the_page_says(guarded: ListeningServer, tokens: Tokens, fault: str):
    caller = FAULTS[fault](Caller(server=guarded), tokens.texts)
    assert documented()[fault] == {
        "ocella.v1": caller.code(list_models),
        "OIP": caller.code(server_metadata),
        "HTTP": caller.status(get_models),
    }
