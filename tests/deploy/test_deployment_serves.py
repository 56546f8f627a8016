"""The Deployment's own command on this machine: its ports, probes, certificates and tokens are those that serve."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ocella
from pipelines.errors import OcellaError
from serving.app import ListeningServer
from serving.client import Tls, VisionClient
from tests.deploy.manifests import ROOT, container, manifest, options
from tests.serving.client.certificates import Authority
from tests.serving.servers import server_in_thread

DIGIT = ROOT / "models" / "digits" / "1" / "golden" / "digit-5.png"


@dataclass(frozen=True)
class Deployed:
    """A server started as the Deployment says, but for the places of files and the numbers of ports."""

    server: ListeningServer
    authority: Path
    token: Callable[[str], str]

    def get(self, url: str, *, token: str | None = None) -> int:
        """The status of an answer."""
        context = ssl.create_default_context(cafile=self.authority)
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("secrets")
    authority = Authority(folder, "authority")
    signed = authority.sign("server", "DNS:ocella,IP:127.0.0.1")
    tokens = {role: made(folder / "tokens", role) for role in ("infer", "metrics")}
    placed = {
        "models": (ROOT / "models" / "digits",),
        "host": "127.0.0.1",
        "port": 0,
        "http_port": 0,
        "health_port": 0,
        "tls_cert": signed.certificate,
        "tls_key": signed.key,
        "tokens": folder / "tokens",
    }
    told = {name[2:].replace("-", "_"): value or True for name, value in options(container()["args"]).items()}
    assert set(placed) <= set(told)
    with server_in_thread(**(told | placed)) as server:
        yield Deployed(server, authority.certificate, tokens.__getitem__)


def made(file: Path, role: str) -> str:
    """A token for a role, made by the command of the manual."""
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        assert ocella.main(["token", str(file), "--name", f"test-{role}", "--role", role]) == 0
    return lines[0]


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_each_probe_is_answered_without_certificate_or_token(deployed: Deployed, probe: str):
    path = container()[probe]["httpGet"]["path"]
    assert deployed.get(f"http://{deployed.server.health_address}{path}") == 200


def test_the_port_of_the_probes_answers_nothing_else(deployed: Deployed):
    assert deployed.get(f"http://{deployed.server.health_address}/metrics") == 404


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("infer", 403), ("metrics", 200)])
def test_the_monitors_path_wants_a_token_for_metrics(deployed: Deployed, role: str | None, status: int):
    (endpoint,) = manifest("monitor.yaml")["spec"]["endpoints"]
    url = f"{endpoint['scheme']}://{deployed.server.http_address}{endpoint['path']}"
    assert deployed.get(url, token=role and deployed.token(role)) == status


def test_a_client_with_a_token_is_answered_over_tls(deployed: Deployed):
    tls = Tls(root_certificates=deployed.authority, server_name="ocella")
    with VisionClient(deployed.server.grpc_address, tls=tls, token=deployed.token("infer")) as client:
        assert client.predict("digits", DIGIT.read_bytes(), top_k=1).result.labels == ("5",)


def test_a_client_without_a_token_is_not(deployed: Deployed):
    tls = Tls(root_certificates=deployed.authority, server_name="ocella")
    with (
        VisionClient(deployed.server.grpc_address, tls=tls) as client,
        pytest.raises(OcellaError, match="a token is needed"),
    ):
        client.predict("digits", DIGIT.read_bytes())
