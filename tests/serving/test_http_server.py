from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from serving.app import ListeningServer, listening
from serving.client import AsyncVisionClient
from serving.http_server import allowed_hosts
from tests.serving.servers import running_server, settings_for


@pytest.fixture
async def http(server: ListeningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
        yield http


async def test_a_server_with_models_lives_and_is_ready(http: httpx.AsyncClient):
    assert (await http.get("/healthz")).status_code == 200
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "models_ready": 4, "models_not_ready": 0})


async def test_a_server_that_still_loads_lives_but_is_not_ready(repository: Path):
    async with (
        listening(settings_for(repository)) as server,
        httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http,
    ):
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["models_not_ready"]) == (503, 4)


async def test_a_draining_server_lives_but_is_not_ready(server: ListeningServer, http: httpx.AsyncClient):
    server.catalog.drain()
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).status_code == 503


async def test_probes_reveal_no_names(http: httpx.AsyncClient):
    for path in ("/healthz", "/readyz"):
        assert "classes" not in (await http.get(path)).text


async def test_metrics_are_those_of_this_server(server: ListeningServer, http: httpx.AsyncClient, photos: list[bytes]):
    async with AsyncVisionClient(server.grpc_address) as client:
        await client.predict("classes", photos[0])
    scrape = await http.get("/metrics")
    assert scrape.headers["content-type"].startswith("text/plain; version=")
    assert (
        'ocella_requests_total{code="OK",method="Predict",model="classes",version="1"} 1.0' in scrape.text.splitlines()
    )
    assert 'ocella_model_ready{model="classes",version="1"} 1.0' in scrape.text.splitlines()
    assert "_created" not in scrape.text


async def test_openmetrics_is_given_to_those_who_ask(http: httpx.AsyncClient):
    scrape = await http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert scrape.headers["content-type"].startswith("application/openmetrics-text")
    assert scrape.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/", "/v2/models/classes/", "/v3", "/console"])
async def test_other_paths_are_not_found(http: httpx.AsyncClient, path: str):
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["reason"]) == (404, "UnknownPathError")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_a_page_of_another_host_reads_nothing(http: httpx.AsyncClient, path: str):
    assert (await http.get(path, headers={"host": "evil.example"})).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
async def test_our_own_names_are_served(http: httpx.AsyncClient, host: str):
    assert (await http.get("/healthz", headers={"host": host})).status_code == 200


def test_a_server_for_others_is_reached_under_any_name():
    assert allowed_hosts("0.0.0.0") == ("*",)


async def test_probes_answer_until_the_last_request_is_done(repository: Path, photos: list[bytes]):
    async with running_server(repository) as server:
        address = server.http_address
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 200
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/healthz")


async def test_a_scrape_of_several_processes_fails_where_their_supervisor_does_not_answer(
    repository: Path, tmp_path: Path
):
    async with (
        listening(settings_for(repository, processes=2, member=0, member_of=tmp_path)) as server,
        httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http,
    ):
        scrape = await http.get("/metrics")
        assert (scrape.status_code, scrape.text) == (
            503,
            "the supervisor of this server's processes must answer, it does not\n",
        )
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
