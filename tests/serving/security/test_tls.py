import logging
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serving.app import listening
from serving.security.tls import Tls, TlsFiles, load_identity
from serving.settings import StartError
from tests.serving.client.certificates import Signed
from tests.serving.security.apis import HOST, Caller, get_models, list_models
from tests.serving.security.conftest import Certificates
from tests.serving.servers import server_in_thread, settings_for

ELSEWHERE = "elsewhere.example"
Files = Callable[..., TlsFiles]


@pytest.fixture
def own(tmp_path: Path, certificates: Certificates) -> TlsFiles:
    """Files of a server that a test may change."""
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    put(files, certificates.server)
    return files


@pytest.fixture(scope="session")
def renewed(certificates: Certificates) -> Signed:
    """Another certificate of the same authority, for another host."""
    return certificates.ours.sign("renewed", f"DNS:{ELSEWHERE}")


def put(files: TlsFiles, signed: Signed) -> None:
    shutil.copy(signed.certificate, files.certificate)
    shutil.copy(signed.key, files.key)


def test_a_certificate_says_until_when_it_is_valid(own: TlsFiles):
    assert load_identity(own).valid_until.endswith("GMT")


def test_a_key_is_never_printed(own: TlsFiles):
    assert "PRIVATE KEY" not in repr(load_identity(own))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda files, _: files.certificate.unlink(), r"tls\.crt must be a PEM file that can be read: No such file"),
        (lambda files, _: files.certificate.write_text("nothing"), r"tls\.crt must be PEM, it is something else"),
        (lambda files, _: shutil.copy(files.key, files.certificate), r"must be the unencrypted key of .*tls\.crt"),
        (lambda files, made: shutil.copy(made.client.key, files.key), "key values mismatch"),
        (lambda files, made: put(files, made.expired), r"tls\.crt cannot be shown to clients: certificate has expired"),
    ],
)
def test_files_that_no_client_would_take_are_refused(
    own: TlsFiles, certificates: Certificates, spoil: Callable[[TlsFiles, Certificates], object], message: str
):
    spoil(own, certificates)
    with pytest.raises(StartError, match=message):
        load_identity(own)


def test_an_encrypted_key_is_refused_without_asking_for_its_password(own: TlsFiles):
    words = ("openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", own.key, "-out", own.key.with_suffix(".enc"))
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(StartError, match="it is encrypted"):
        load_identity(TlsFiles(own.certificate, own.key.with_suffix(".enc")))


def test_authorities_of_clients_that_are_none_are_refused(own: TlsFiles):
    with pytest.raises(StartError, match="must be PEM certificates"):
        load_identity(TlsFiles(own.certificate, own.key, client_ca=own.key))


async def test_a_server_does_not_start_with_a_certificate_that_expired(model: Path, certificates: Certificates):
    files = {"tls_cert": certificates.expired.certificate, "tls_key": certificates.expired.key}
    with pytest.raises(StartError, match="certificate has expired"):
        async with listening(settings_for(model, **files)):
            pass


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_renewal_that_cannot_be_used_keeps_what_was_and_says_so(
    own: TlsFiles, certificates: Certificates, missing: str, caplog: pytest.LogCaptureFixture
):
    tls = Tls(own)
    before = tls.current
    getattr(own, missing).write_text("half a file")
    tls.refresh()
    assert tls.current is before
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "stays" in record.getMessage()
    assert f"{getattr(own, missing)} must be" in record.getMessage()
    tls.refresh()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    put(own, certificates.server)
    tls.refresh()
    assert tls.current is not before


def test_a_renewal_that_fails_for_another_reason_than_its_files_is_tried_again(
    own: TlsFiles, renewed: Signed, monkeypatch: pytest.MonkeyPatch
):
    def no_descriptor(_: TlsFiles) -> None:
        raise StartError("tls.crt must be a PEM file that can be read: Too many open files")

    tls = Tls(own)
    before = tls.current
    put(own, renewed)
    with monkeypatch.context() as patch:
        patch.setattr("serving.security.tls.load_identity", no_descriptor)
        tls.refresh()
    assert tls.current is before
    tls.refresh()
    assert tls.current is not before


def test_files_that_did_not_change_are_not_read_again(own: TlsFiles):
    tls = Tls(own)
    before = tls.current
    tls.refresh()
    assert tls.current is before


def test_a_link_that_is_swapped_is_a_renewal(tmp_path: Path, own: TlsFiles, renewed: Signed):
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "data"
    for folder, signed in ((first, None), (second, renewed)):
        folder.mkdir()
        for file in (own.certificate, own.key):
            shutil.copy(file, folder)
        if signed:
            put(TlsFiles(folder / "tls.crt", folder / "tls.key"), signed)
    link.symlink_to(first)
    tls = Tls(TlsFiles(link / "tls.crt", link / "tls.key"))
    before = tls.current
    (tmp_path / "next").symlink_to(second)
    (tmp_path / "next").rename(link)
    tls.refresh()
    assert tls.current is not before


@pytest.fixture
def renewing(model: Path, own: TlsFiles) -> Iterator[Caller]:
    files = {"tls_cert": own.certificate, "tls_key": own.key, "secrets_interval_s": 0.01}
    with server_in_thread(model, **files) as server:
        yield Caller(server=server)


def test_a_running_server_shows_new_connections_its_new_certificate(
    renewing: Caller, own: TlsFiles, certificates: Certificates, renewed: Signed
):
    def told(name: str) -> tuple[str, str]:
        caller = Caller(server=renewing.server, trusts=certificates.ours.certificate, expects=name)
        return caller.code(list_models), caller.status(get_models)

    trusting = Caller(server=renewing.server, trusts=certificates.ours.certificate)
    with trusting.channel() as channel, trusting.http() as http:
        list_models(channel, {})
        assert http.get("/v1/models").status_code == 200
        put(own, renewed)
        assert any(told(ELSEWHERE) == ("OK", "200") for _ in range(500)), "the certificate was never renewed"
        assert told(HOST) == ("UNAVAILABLE", "no connection")
        list_models(channel, {})  # connections that are open stay open
        assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_of_an_authority_that_went_cannot_resume_its_session(
    own: TlsFiles, tmp_path: Path, certificates: Certificates, newest: ssl.TLSVersion
):
    trusted = tmp_path / "clients.pem"
    shutil.copy(certificates.ours.certificate, trusted)
    tls = Tls(TlsFiles(own.certificate, own.key, trusted))
    server = tls.http_context()
    client = ssl.create_default_context(cafile=certificates.ours.certificate)
    client.load_cert_chain(certificates.client.certificate, certificates.client.key)
    client.maximum_version = newest
    session = None
    with suppress(ssl.SSLError):  # 1.2 is not spoken at all, and leaves no session
        session = session_of(client, server, resumed=None)
    shutil.copy(certificates.other.certificate, trusted)
    tls.refresh()
    with pytest.raises(ssl.SSLError):
        session_of(client, server, resumed=session)


def session_of(client: ssl.SSLContext, server: ssl.SSLContext, *, resumed: ssl.SSLSession | None) -> ssl.SSLSession:
    """What a client could resume after a byte from the server; raises SSLError where one of both refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname=HOST, session=resumed)
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # two moves of each side
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    ours.write(b"x")
    assert theirs.read(1) == b"x"
    session = theirs.session
    assert session is not None
    return session


def test_an_authority_of_clients_that_goes_is_trusted_no_more(
    model: Path, own: TlsFiles, tmp_path: Path, certificates: Certificates
):
    trusted = tmp_path / "clients.pem"
    shutil.copy(certificates.ours.certificate, trusted)
    files = {"tls_cert": own.certificate, "tls_key": own.key, "tls_client_ca": trusted, "secrets_interval_s": 0.01}
    with server_in_thread(model, **files) as server:
        ours = Caller(server=server, trusts=certificates.ours.certificate, shows=certificates.client)
        other = Caller(server=server, trusts=certificates.ours.certificate, shows=certificates.stranger)
        assert (ours.code(list_models), ours.status(get_models)) == ("OK", "200")
        shutil.copy(certificates.other.certificate, trusted)
        assert any((other.code(list_models), other.status(get_models)) == ("OK", "200") for _ in range(500))
        assert (ours.code(list_models), ours.status(get_models)) == ("UNAVAILABLE", "no connection")
