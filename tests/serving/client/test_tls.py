from pathlib import Path

import grpc
import pytest

from pipelines.errors import InvalidRequestError, ServiceUnavailableError
from serving.client import AsyncVisionClient, Tls, VisionClient
from serving.client.tls import is_loopback
from tests.serving.client.certificates import Authority, Signed
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.servers import PATIENCE_S

FAR = "vision.example:8001"
REFUSED = r"CERTIFICATE_VERIFY_FAILED|Hostname Verification Check failed|Socket closed|Connection reset"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def server_certificate(authority: Authority) -> Signed:
    return authority.sign("server", "DNS:vision.example")


def server_credentials(signed: Signed, clients: Authority | None = None) -> grpc.ServerCredentials:
    """Of a server with a certificate, which asks its clients for one of ``clients``."""
    pair = (signed.key.read_bytes(), signed.certificate.read_bytes())
    roots = clients.certificate.read_bytes() if clients else None
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=clients is not None)


async def test_both_clients_reach_a_server_whose_certificate_they_trust(
    authority: Authority, server_certificate: Signed
):
    servicer = Scripted()
    tls = Tls(root_certificates=authority.certificate, server_name="vision.example")
    with serving(servicer, server_credentials(server_certificate)) as address:
        with VisionClient(address, timeout_s=PATIENCE_S, tls=tls, token="abc") as client:
            assert client.predict("m", b"", id="sync").id == "sync"
        assert servicer.metadata["authorization"] == "Bearer abc"
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S, tls=tls, token="xyz=") as client:
            assert (await client.predict("m", b"", id="async")).id == "async"
        assert servicer.metadata["authorization"] == "Bearer xyz="


def test_certificates_may_be_given_as_bytes(authority: Authority, server_certificate: Signed):
    tls = Tls(root_certificates=authority.certificate.read_bytes(), server_name="vision.example")
    with (
        serving(Scripted(), server_credentials(server_certificate)) as address,
        VisionClient(address, timeout_s=PATIENCE_S, tls=tls) as client,
    ):
        assert client.predict("m", b"", id="7").id == "7"


@pytest.mark.parametrize("wrong", ["authority", "name", "none"])
def test_a_certificate_that_is_not_trusted_is_no_server(
    authority: Authority, server_certificate: Signed, tmp_path: Path, wrong: str
):
    tls = {
        "authority": Tls(root_certificates=Authority(tmp_path, "stranger").certificate, server_name="vision.example"),
        "name": Tls(root_certificates=authority.certificate, server_name="other.example"),
        "none": None,
    }[wrong]
    with (
        serving(Scripted(), server_credentials(server_certificate)) as address,
        VisionClient(address, timeout_s=PATIENCE_S, tls=tls) as client,
        pytest.raises(ServiceUnavailableError, match=REFUSED),
    ):
        client.predict("m", b"")


def test_a_server_that_asks_for_a_certificate_knows_its_client(
    authority: Authority, server_certificate: Signed, tmp_path: Path
):
    clients = Authority(tmp_path, "clients")
    ours = clients.sign("camera", "DNS:camera.example")
    trusted = {"root_certificates": authority.certificate, "server_name": "vision.example"}
    with serving(Scripted(), server_credentials(server_certificate, clients)) as address:
        tls = Tls(**trusted, certificate=ours.certificate, key=ours.key)
        with VisionClient(address, timeout_s=PATIENCE_S, tls=tls) as client:
            assert client.predict("m", b"", id="7").id == "7"
        with (
            VisionClient(address, timeout_s=PATIENCE_S, tls=Tls(**trusted), retry=None) as client,
            pytest.raises(ServiceUnavailableError),
        ):
            client.predict("m", b"")


def test_a_certificate_needs_its_key():
    with pytest.raises(InvalidRequestError, match="must come together, got the certificate alone"):
        Tls(certificate=b"-----BEGIN ")
    with pytest.raises(InvalidRequestError, match="must come together, got the key alone"):
        Tls(key=b"-----BEGIN ")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path):
    for tls, message in (
        (Tls(root_certificates=tmp_path / "none.pem"), "root_certificates must be a file that can be read: .*none.pem"),
        (Tls(root_certificates=b"DER"), "root_certificates must be PEM"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            VisionClient(tls=tls)


def test_a_key_is_never_printed():
    assert "secret" not in repr(Tls(certificate=b"-----BEGIN ", key=b"-----BEGIN secret"))


async def test_a_token_travels_unencrypted_only_on_this_machine_or_where_that_is_allowed():
    for make in (VisionClient, AsyncVisionClient):
        with pytest.raises(InvalidRequestError, match=r"a token must travel encrypted to vision\.example:8001"):
            make(["127.0.0.1:1", FAR], token="abc")
        for allowed in (make(FAR, token="abc", tls=Tls()), make(FAR, token="abc", allow_insecure_token=True)):
            closed = allowed.close()
            if closed is not None:
                await closed


def test_a_token_on_loopback_reaches_the_server():
    servicer = Scripted()
    with serving(servicer) as address, VisionClient(address, timeout_s=PATIENCE_S, token="a.b-c_d~e+f/g==") as client:
        client.predict("m", b"")
    assert servicer.metadata["authorization"] == "Bearer a.b-c_d~e+f/g=="


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel", "=abc"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(token: str):
    with pytest.raises(InvalidRequestError, match="token must be letters, digits") as raised:
        VisionClient(token=token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    ("server", "here"),
    [
        ("localhost:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("[fe80::1%eth0]:1", False),
    ],
)
def test_only_the_names_of_this_machine_are_this_machine(server: str, here: bool):
    assert is_loopback(server) is here
