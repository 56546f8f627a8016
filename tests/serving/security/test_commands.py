from pathlib import Path

import pytest

import ocella
from tests.serving.security.apis import HOST
from tests.serving.security.conftest import Certificates, Tokens
from tests.serving.servers import server_in_thread


def test_commands_reach_a_server_that_asks_who_calls(
    model: Path,
    certificates: Certificates,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    files = {"tls_cert": certificates.server.certificate, "tls_key": certificates.server.key}
    with server_in_thread(model, **files, tokens=tokens.file) as server:
        command = ["models", "--server", server.grpc_address]
        monkeypatch.setenv("OCELLA_CLIENT_CA", str(certificates.ours.certificate))
        monkeypatch.setenv("OCELLA_CLIENT_SERVER_NAME", HOST)
        assert ocella.main(command) == 1
        assert capsys.readouterr().err.startswith("error: a token is needed")
        monkeypatch.setenv("OCELLA_CLIENT_TOKEN", tokens.texts["infer"])
        assert ocella.main(command) == 0
        assert capsys.readouterr().out.startswith("classes ")
        assert ocella.main(["health", "--server", server.grpc_address]) == 0
