"""Canaries, the breaker and hung runs, seen from outside: health, answers and probes of real servers."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from pipelines.errors import ModelNotReadyError, OcellaError, ServerFaultError
from pipelines.golden import GoldenReport, replay
from pipelines.session import GraphSession, RunControl
from pipelines.types import AnyArray
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S, FaultySession, running_server, swap_session

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
Outputs = dict[str, AnyArray]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two models, ``sick`` and ``well``."""
    root = tmp_path_factory.mktemp("pair")
    for name in ("sick", "well"):
        make_package(root / name / "1", name=name)
    return root


class Patient:
    """Decides what the sessions of a model do from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
        self.spoil: Any = None
        swap_session(monkeypatch, model, lambda session: FaultySession(session, self._apply))

    def _apply(self, outputs: Outputs) -> Outputs:
        return self.spoil(outputs) if self.spoil else outputs


def fail(_: Outputs) -> Outputs:
    raise RuntimeError("broken on purpose")


def not_numbers(outputs: Outputs) -> Outputs:
    return {name: value * float("nan") for name, value in outputs.items()}


def drifted(outputs: Outputs) -> Outputs:
    return {name: value + 0.1 for name, value in outputs.items()}


@asynccontextmanager
async def watching(server: ListeningServer, service: str) -> AsyncIterator[Any]:
    """A call that gives the next state of a service."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=service), timeout=PATIENCE_S)

        async def read() -> int:
            return (await watch.read()).status

        yield read
        watch.cancel()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (not_numbers, "golden canary failed: .*logits by up to nan"),
        (drifted, "golden canary failed: .*raw outputs differ: logits by up to 0.1"),
        (fail, r"golden canary failed: internal error \(RuntimeError\)"),
    ],
)
async def test_a_model_that_answers_otherwise_than_at_load_is_taken_out_until_it_does_not(
    pair: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str
):
    patient = Patient(monkeypatch, "sick")
    async with (
        running_server(pair, canary_interval_s=0.05, breaker_wait_s=0.05) as server,
        AsyncVisionClient(server.grpc_address) as client,
        watching(server, "sick") as sick,
        watching(server, "well") as well,
    ):
        assert (await sick(), await well()) == (SERVING, SERVING)
        patient.spoil = spoil
        assert await sick() == NOT_SERVING
        with pytest.raises(ModelNotReadyError, match=said):
            await client.predict("sick", photos[0])
        assert (await client.predict("well", photos[0])).model == "well"
        patient.spoil = None
        assert await sick() == SERVING
        assert (await client.predict("sick", photos[0])).model == "sick"
        other = asyncio.ensure_future(well())
        server.catalog.drain()
        assert await other == NOT_SERVING  # the first change that it heard is the stop


class Slow:
    """Says how long the golden rows of a model take, in place of what they do take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
        self.row_s = 0.001

        def timed(manifest: Any, *arguments: Any) -> GoldenReport:
            report = replay(manifest, *arguments)
            return replace(report, row_s=self.row_s) if manifest.name == model else report

        monkeypatch.setattr("serving.canary.replay", timed)


@pytest.fixture
def slow_pair(pair: Path, tmp_path: Path) -> Path:
    """``pair``, whose ``sick`` has a limit of 50 ms."""
    root = shutil.copytree(pair, tmp_path / "pair")
    (root / "sick" / "deploy.toml").write_text("[health]\ncanary_max_ms = 50\n")
    return root


async def test_a_model_whose_canaries_are_late_is_taken_out_until_one_is_in_time(
    slow_pair: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    slow = Slow(monkeypatch, "sick")
    async with (
        running_server(slow_pair, canary_interval_s=0.05, breaker_wait_s=0.05) as server,
        AsyncVisionClient(server.grpc_address) as client,
        watching(server, "sick") as sick,
    ):
        assert await sick() == SERVING
        well = server.catalog.find("well", 1)
        slow.row_s = 0.2
        assert await sick() == NOT_SERVING
        said = "golden canary late: a golden row must take at most 50 ms, it takes 200 ms"
        with pytest.raises(ModelNotReadyError, match=said):
            await client.predict("sick", photos[0])
        labels = {"model": "sick", "version": "1"}
        assert server.metrics.registry.get_sample_value("ocella_model_ready", labels) == 0
        assert server.catalog.find("well", 1) is well
        slow.row_s = 0.05
        assert await sick() == SERVING
        assert server.metrics.registry.get_sample_value("ocella_model_ready", labels) == 1
        assert (await client.predict("sick", photos[0])).model == "sick"


async def test_a_late_canary_is_confirmed_before_the_next_one_is_due(slow_pair: Path, monkeypatch: pytest.MonkeyPatch):
    """The one after a reload is the first; by the interval alone its confirmation would come in an hour."""
    slow = Slow(monkeypatch, "sick")
    async with (
        running_server(slow_pair, canary_interval_s=3600, breaker_wait_s=0.05, hang_s=1) as server,
        watching(server, "sick") as sick,
    ):
        assert await sick() == SERVING
        slow.row_s = 0.2
        make_package(slow_pair / "sick" / "2", name="sick", version=2)
        await server.lifecycle.load("sick")
        async with asyncio.timeout(PATIENCE_S):
            while not (failed := server.catalog.statuses()[1]).reason:
                await server.catalog.changed.wait()
        assert failed.reason.startswith("rolled back to version 1: golden canary late: a golden row must take")
        assert server.catalog.find("sick", 0).version == 1


async def test_a_changed_limit_of_canaries_applies_to_what_answers_without_loading_it_anew(
    slow_pair: Path, monkeypatch: pytest.MonkeyPatch
):
    slow = Slow(monkeypatch, "sick")
    deploy = slow_pair / "sick" / "deploy.toml"
    settings = {"watch": True, "watch_interval_s": 0.02, "canary_interval_s": 0.05, "breaker_wait_s": 0.05}
    async with running_server(slow_pair, **settings) as server, watching(server, "sick") as sick:
        assert await sick() == SERVING
        slow.row_s = 0.04
        deploy.write_text("[health]\ncanary_max_ms = 30\n")
        assert await sick() == NOT_SERVING
        (status, _) = server.catalog.statuses()
        assert "a golden row must take at most 30 ms, it takes 40 ms" in status.reason
        labels = {"model": "sick", "version": "1", "result": "ok"}
        assert server.metrics.registry.get_sample_value("ocella_model_loads_total", labels) == 1
        deploy.write_text("[health]\ncanary_max_ms = 40\n")
        assert await sick() == SERVING


async def test_a_model_that_fails_requests_is_taken_out_and_comes_back_after_a_probe(
    pair: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    patient = Patient(monkeypatch, "sick")
    settings = {"canary_interval_s": 0, "breaker_calls": 4, "breaker_wait_s": 0.1}
    async with (
        running_server(pair, **settings) as server,
        AsyncVisionClient(server.grpc_address) as client,
        watching(server, "sick") as sick,
    ):
        assert await sick() == SERVING
        await asyncio.gather(*(client.predict("sick", photos[0]) for _ in range(2)))
        patient.spoil = fail
        for _ in range(2):
            with pytest.raises(ServerFaultError):
                await client.predict("sick", photos[0])
        assert await sick() == NOT_SERVING
        with pytest.raises(ModelNotReadyError, match="2 of the last 4 requests failed"):
            await client.predict("sick", photos[0])
        assert (await client.predict("well", photos[0])).model == "well"
        patient.spoil = None
        assert await sick() == SERVING
        assert (await client.predict("sick", photos[0])).model == "sick"


async def test_a_callers_mistakes_do_not_count_against_a_model(pair: Path):
    async with (
        running_server(pair, canary_interval_s=0, breaker_calls=2) as server,
        AsyncVisionClient(server.grpc_address) as client,
    ):
        for _ in range(5):
            with pytest.raises(OcellaError):
                await client.predict("sick", b"no image")
        assert await client.is_ready("sick")


class Hanging:
    """A session whose runs hang while ``hang`` is set; those that ``obey`` end when they are told to."""

    def __init__(self, session: GraphSession, hang: threading.Event, release: threading.Event, *, obey: bool) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.graph_outputs = session.graph_outputs
        self._session, self._hang, self._release, self._obey = session, hang, release, obey

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Any = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        if self._hang.is_set():
            while not self._release.wait(0.01):
                if self._obey and control and control.terminated:
                    raise RuntimeError("ended")
        return self._session.run(feeds, outputs=outputs, control=control)

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def hang() -> threading.Event:
    return threading.Event()


@pytest.fixture
def release() -> Any:
    event = threading.Event()
    yield event
    event.set()


async def test_a_run_that_hangs_is_ended_and_its_session_stays(
    pair: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, hang: threading.Event, release: threading.Event
):
    swap_session(monkeypatch, "sick", lambda session: Hanging(session, hang, release, obey=True))
    async with (
        running_server(pair, canary_interval_s=0, hang_s=0.2) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        served = server.catalog.find("sick", 1)
        hang.set()
        with pytest.raises(ServerFaultError):
            await client.predict("sick", photos[0])
        hang.clear()
        assert (await client.predict("sick", photos[0])).model == "sick"
        assert server.catalog.find("sick", 1) is served


async def test_a_session_whose_run_cannot_be_ended_is_replaced_and_the_second_time_liveness_fails(
    pair: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, hang: threading.Event, release: threading.Event
):
    swap_session(monkeypatch, "sick", lambda session: Hanging(session, hang, release, obey=False))
    async with (
        running_server(pair, canary_interval_s=0, hang_s=0.2, breaker_wait_s=0.05) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S, retry=None) as client,
        httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http,
    ):
        for time in (1, 2):
            assert (await http.get("/healthz")).status_code == 200
            served = server.catalog.find("sick", 1)
            hang.set()
            with pytest.raises(ModelNotReadyError, match="a run hangs"):
                await client.predict("sick", photos[0])
            hang.clear()
            await client.wait_ready("sick")
            assert server.catalog.find("sick", 1) is not served
            assert (await client.predict("sick", photos[0])).model == "sick"
            labels = {"model": "sick", "version": "1"}
            assert server.metrics.registry.get_sample_value("ocella_leaked_threads", labels) == time
        live = await http.get("/healthz")
        assert live.status_code == 503
        assert "sick" not in live.text
        assert (await http.get("/readyz")).status_code == 200
