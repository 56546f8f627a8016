from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.errors import NotAllowedError, UnauthenticatedError
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, Tls, VisionClient
from tests.serving.security.apis import HOST, Caller, get_models, list_models, server_metadata
from tests.serving.security.conftest import Certificates, Tokens
from tests.serving.security.matrix import documented
from tests.serving.servers import PATIENCE_S, running_server, server_in_thread

Makes = Callable[[ListeningServer, Certificates], Caller]
FAULTS: dict[str, Makes] = {
    "server's certificate of an authority that the client does not trust": lambda server, made: Caller(
        server=server, trusts=made.other.certificate, shows=made.client
    ),
    "server's certificate of another host": lambda server, made: Caller(
        server=server, trusts=made.ours.certificate, shows=made.client, expects="elsewhere.example"
    ),
    "client without a certificate": lambda server, made: Caller(server=server, trusts=made.ours.certificate),
    "client's certificate of another authority": lambda server, made: Caller(
        server=server, trusts=made.ours.certificate, shows=made.stranger
    ),
    "client's certificate expired": lambda server, made: Caller(
        server=server, trusts=made.ours.certificate, shows=made.expired
    ),
    "client that does not encrypt": lambda server, _: Caller(server=server),
}


@pytest.fixture(scope="module")
def mutual(model, certificates: Certificates) -> Iterator[ListeningServer]:
    """A server that asks its clients for certificates."""
    files = {"tls_cert": certificates.server.certificate, "tls_key": certificates.server.key}
    with server_in_thread(model, **files, tls_client_ca=certificates.ours.certificate, health_port=0) as server:
        yield server


def test_a_client_whose_certificate_is_trusted_is_served_by_each_api(
    mutual: ListeningServer, certificates: Certificates
):
    caller = Caller(server=mutual, trusts=certificates.ours.certificate, shows=certificates.client)
    answers = (caller.code(list_models), caller.code(server_metadata), caller.status(get_models))
    assert answers == ("OK", "OK", "200")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_bad_certificate_is_answered_as_the_page_says(
    mutual: ListeningServer, certificates: Certificates, fault: str
):
    caller = FAULTS[fault](mutual, certificates)
    assert documented()[fault] == {
        "ocella.v1": caller.code(list_models),
        "OIP": caller.code(server_metadata),
        "HTTP": caller.status(get_models),
    }


def test_probes_are_answered_unencrypted_on_a_port_of_their_own_and_nothing_else_is(mutual: ListeningServer):
    with httpx.Client(base_url=f"http://{mutual.health_address}", trust_env=False) as plain:
        answers = {path: plain.get(path) for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/openapi.json")}
    assert [answer.status_code for answer in answers.values()] == [200, 200, 404, 404, 404]
    assert all("classes" not in answer.text for answer in answers.values())


@pytest.fixture(scope="module")
def strict(certificates: Certificates, tokens: Tokens) -> dict[str, Any]:
    """Settings of a server that asks for a certificate and a token."""
    files = {"tls_cert": certificates.server.certificate, "tls_key": certificates.server.key}
    return {**files, "tls_client_ca": certificates.ours.certificate, "tokens": tokens.file}


@pytest.fixture(scope="module")
def tls(certificates: Certificates) -> Tls:
    """Of a client that such a server lets in."""
    return Tls(
        root_certificates=certificates.ours.certificate,
        certificate=certificates.client.certificate,
        key=certificates.client.key,
        server_name=HOST,
    )


def test_our_client_is_let_in_by_certificate_and_token(
    model: Path, strict: dict[str, Any], tls: Tls, tokens: Tokens, image: bytes
):
    with server_in_thread(model, **strict) as server:
        connect = partial(VisionClient, server.grpc_address, timeout_s=PATIENCE_S, tls=tls)
        with connect(token=tokens.texts["infer"]) as client:
            assert client.predict("classes", image).model == "classes"
        with connect() as client, pytest.raises(UnauthenticatedError, match="a token is needed"):
            client.predict("classes", image)
        with connect(token=tokens.texts["metrics"]) as client, pytest.raises(NotAllowedError, match="the role infer"):
            client.predict("classes", image)


async def test_our_asyncio_client_is_let_in_by_certificate_and_token(
    model: Path, strict: dict[str, Any], tls: Tls, tokens: Tokens, image: bytes
):
    async with (
        running_server(model, **strict) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S, tls=tls, token=tokens.texts["infer"]) as client,
    ):
        assert (await client.predict("classes", image)).model == "classes"
        assert [answer.model async for answer in client.predict_stream("classes", [image] * 3)] == ["classes"] * 3
