"""What a real Prometheus makes of a real server: panels have data, alerts are evaluated, scrapes are clean."""

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.errors import OcellaError
from serving.bench.server_process import OwnServer, own_server
from serving.client import AsyncVisionClient
from serving.memory import resident_bytes
from tests.deploy.monitored import Prometheus, get, post, scraping, tool
from tests.deploy.watched import PROMETHEUS, SELECTOR, alerts, queries
from tests.packages import make_package, photo, png
from tests.serving.servers import PATIENCE_S
from tests.serving.test_processes import running

NEEDS = "needs {}: apt-get install prometheus"
needs_promtool = pytest.mark.skipif(tool("promtool") is None, reason=NEEDS.format("promtool"))
needs_prometheus = pytest.mark.skipif(tool("prometheus") is None, reason=NEEDS.format("prometheus"))
GPU_PANELS = {"GPU use", "GPU memory", "GPU temperature", "GPU power", "Rows of padding"}
SCRAPES_S = 180.0  # more than the rates of 15 s need on a machine that does something else as well


def promtool(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [str(tool("promtool")), *words], input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_configuration_of_prometheus_is_one():
    assert "is valid prometheus config file syntax" in promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@needs_promtool
@pytest.mark.slow
def test_alerts_fire_when_they_must_and_not_else():
    assert "SUCCESS" in promtool("test", "rules", str(PROMETHEUS / "alerts_test.yml"))


@dataclass(frozen=True)
class Watched:
    """A server under a little load of every kind, and the Prometheus that scrapes it."""

    server: OwnServer
    prometheus: Prometheus


async def one_of_each(server: OwnServer, image: bytes) -> None:
    """Requests that end in every way, and a stream of which frames fail."""
    async with AsyncVisionClient(server.grpc, timeout_s=PATIENCE_S, retry=None) as client:
        asked = [
            client.predict("classes", image),
            client.predict("classes", b"no image"),
            client.predict("cats", image),
            client.predict("broken", image),
        ]
        await asyncio.gather(*asked, client.list_models(), return_exceptions=True)
        async for _ in client.predict_stream("classes", [image, b"bad", image]):
            pass
        task = asyncio.create_task(client.predict("classes", image))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, OcellaError):
            await task


def keep_asking(server: OwnServer, stop: threading.Event) -> None:
    image = png(photo())
    while not stop.is_set():
        asyncio.run(one_of_each(server, image))
        assert post(f"http://{server.http}/v1/models/classes:predict?timeout=0.000001", image) == 504
        stop.wait(0.1)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    models, folder = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("prometheus")
    make_package(models / "classes" / "1", name="classes")
    make_package(models / "broken" / "1", name="broken")
    (models / "broken" / "1" / "model.onnx").write_bytes(b"no graph")
    stop = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCELLA_CANARY_INTERVAL_S", "1")
        with own_server(models, options=["--admin"]) as server, scraping(server.http, folder) as prometheus:
            load = threading.Thread(target=keep_asking, args=(server, stop))
            load.start()
            try:
                make_package(models / "classes" / "2", name="classes", version=2)
                assert post(f"http://{server.http}/v2/repository/models/classes/load", b"{}") == 200
                yield Watched(server, prometheus)
            finally:
                stop.set()
                load.join(PATIENCE_S)


def empty_after(watched: Watched, asked: list[tuple[str, str]], allowed: set[str]) -> set[str]:
    """Names of those whose expression still gives nothing once all but ``allowed`` might: rates need some scrapes."""
    end = time.monotonic() + SCRAPES_S
    while True:
        empty = {name for name, expression in asked if not watched.prometheus.values(expression)}
        if empty <= allowed or time.monotonic() > end:
            return empty


@needs_prometheus
@pytest.mark.slow
def test_every_panel_of_the_dashboard_has_data(watched: Watched):
    empty = empty_after(watched, [(f"{title}: {expression}", expression) for title, expression in queries()], gpu())
    assert empty <= gpu()


def gpu() -> set[str]:
    """Queries that may give nothing here."""
    return {f"{title}: {expression}" for title, expression in queries() if title in GPU_PANELS}


@needs_prometheus
@pytest.mark.slow
def test_every_series_that_an_alert_looks_at_is_there(watched: Watched):
    selectors = {selector for rule in alerts() for selector in SELECTOR.findall(rule["expr"])}
    empty = empty_after(
        watched,
        [(selector, f"count({selector})") for selector in sorted(selectors)],
        {selector for selector in selectors if selector.startswith(("ocella_gpu_", "ocella_leaked_threads"))},
    )
    assert {
        selector for selector in empty if not selector.startswith(("ocella_gpu_", "ocella_leaked_threads"))
    } == set()


@needs_prometheus
@pytest.mark.slow
def test_every_alert_is_evaluated_and_the_one_that_must_stand_out_does(watched: Watched):
    states: dict[str, str] = {}
    end = time.monotonic() + SCRAPES_S
    while states.get("OcellaModelNotReady") != "pending" and time.monotonic() < end:
        groups = watched.prometheus.ask("rules")["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        states = {name: rule["state"] for name, rule in rules.items() if rule["health"] == "ok"}
    assert set(states) == {rule["alert"] for rule in alerts()}
    assert states["OcellaModelNotReady"] == "pending"  # `broken` did not load; it fires after five minutes
    assert states["OcellaDown"] == "inactive"


@needs_promtool
@pytest.mark.slow
def test_promtool_finds_nothing_to_say_about_a_scrape(watched: Watched):
    text = get(f"http://{watched.server.http}/metrics")
    assert "ocella_model_reloads_total" in text
    assert promtool("check", "metrics", stdin=text) == ""


@needs_promtool
@pytest.mark.slow
def test_two_processes_are_scraped_as_one_that_did_the_work_of_both(tmp_path: Path):
    models, image = tmp_path / "models", png(photo())
    make_package(models / "classes" / "1", name="classes")
    with running(models, processes=2) as server:
        for _ in range(12):  # a connection each, which the system gives to either process
            assert post(f"http://{server.http}/v1/models/classes:predict", image) == 200
        text = get(f"http://{server.http}/metrics")
        resident = sum(resident_bytes(Path(f"/proc/{pid}/statm")) for pid in server.pids)
    assert promtool("check", "metrics", stdin=text) == ""
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    told = {name: float(value) for name, _, value in (line.rpartition(" ") for line in samples)}
    labels = 'method="v1.predict",model="classes",version="1"'
    assert told[f'ocella_requests_total{{code="OK",{labels}}}'] == 12
    assert told[f"ocella_request_duration_seconds_count{{{labels}}}"] == 12
    assert told['ocella_stage_duration_seconds_count{model="classes",stage="inference",version="1"}'] == 12
    assert told["ocella_processes"] == 2
    assert told['ocella_model_ready{model="classes",version="1"}'] == 1
    graph = (models / "classes" / "1" / "model.onnx").stat().st_size
    assert told['ocella_model_memory_bytes{model="classes",source="files",version="1"}'] == 2 * graph
    # Between the scrape and the look at /proc a process may take or give back some memory.
    assert told["process_resident_memory_bytes"] == pytest.approx(resident, rel=0.2)


@needs_prometheus
@pytest.mark.slow
def test_prometheus_reads_the_scrape_of_several_processes(tmp_path: Path):
    models, folder = tmp_path / "models", tmp_path / "prometheus"
    folder.mkdir()
    make_package(models / "classes" / "1", name="classes")
    with running(models, processes=2) as server, scraping(server.http, folder) as prometheus:
        end = time.monotonic() + SCRAPES_S
        while not (processes := prometheus.values("ocella_processes")) and time.monotonic() < end:
            pass
        assert processes == [2]
        assert prometheus.values("min(ocella_model_ready)") == [1]
