import asyncio
import hashlib
import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import DrainingError, ModelNotReadyError
from pipelines.manifest import GRAPH_FILE
from serving.app import listening, serve
from serving.client import AsyncVisionClient, Prediction
from serving.settings import StartError
from tests.builders import embedding_head
from tests.graphs import embedder_graph
from tests.packages import edit_manifest, make_package
from tests.serving.servers import PATIENCE_S, GatedSession, running_server, settings_for, swap_session


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


async def test_free_ports_are_chosen_and_told(repository: Path):
    async with listening(settings_for(repository)) as server:
        for address in (server.grpc_address, server.http_address):
            host, port = host_and_port(address)
            assert host == "127.0.0.1"
            assert port > 0


@pytest.mark.parametrize(("port", "protocol"), [("port", "gRPC"), ("http_port", "HTTP")])
async def test_a_busy_port_is_one_clear_error(repository: Path, port: str, protocol: str):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        with pytest.raises(StartError, match=f"port {number} of 127.0.0.1 must be free for {protocol}") as caught:
            async with listening(settings_for(repository, **{port: number})):
                pass
        assert "\n" not in str(caught.value)


async def test_two_servers_never_share_a_grpc_port(repository: Path):
    async with listening(settings_for(repository)) as server:
        _, port = host_and_port(server.grpc_address)
        with pytest.raises(StartError, match="must be free for gRPC"):
            async with listening(settings_for(repository, port=port)):
                pass


async def test_ports_are_free_again_after_a_stop(repository: Path):
    async with listening(settings_for(repository)) as server:
        ports = {
            "port": host_and_port(server.grpc_address)[1],
            "http_port": host_and_port(server.http_address)[1],
        }
    async with listening(settings_for(repository, **ports)):
        pass


async def test_a_host_that_others_reach_needs_permission(repository: Path):
    with pytest.raises(StartError, match="--insecure"):
        async with listening(settings_for(repository, host="0.0.0.0")):
            pass
    async with running_server(repository, host="0.0.0.0", insecure=True) as server:
        _, port = host_and_port(server.grpc_address)
        async with AsyncVisionClient(f"127.0.0.1:{port}") as client:
            assert await client.is_ready()


def _edit(package: Path) -> None:
    edit_manifest(package, lambda raw: raw["image"].update(color="bgr"), reseal=False)


def _unlist(package: Path) -> None:
    (package / "golden" / "sample-0.png").unlink()


def _damage(package: Path) -> None:
    graph = package / GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")


def _rename_input(package: Path) -> None:
    edit_manifest(package, lambda raw: raw["inputs"][0].update(name="pixels"), reseal=True)


def _replace_graph(package: Path) -> None:
    data = embedder_graph().SerializeToString()
    (package / GRAPH_FILE).write_bytes(data)
    edit_manifest(
        package, lambda raw: raw["files"].update({GRAPH_FILE: hashlib.sha256(data).hexdigest()}), reseal=False
    )


def _no_json(package: Path) -> None:
    (package / "manifest.json").write_text("{")


def _wrong_colors(package: Path) -> None:
    edit_manifest(package, lambda raw: raw["image"].update(color="bgr"), reseal=True)


def _other_version(package: Path) -> None:
    edit_manifest(package, lambda raw: raw.update(version=2), reseal=True)


def _bad_deploy(package: Path) -> None:
    (package.parent / "deploy.toml").write_text("[batching]\nmax_size = 0\n")


def _no_such_provider(package: Path) -> None:
    (package.parent / "deploy.toml").write_text('[runtime]\nproviders = ["NoExecutionProvider"]\n')


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_edit, "recipe changed"),
        (_unlist, "sample-0.png is missing"),
        (_damage, "model.onnx has SHA-256"),
        (_rename_input, "graph inputs are"),
        (_replace_graph, "the graph has no output 'logits'"),
        (_no_json, "is not JSON"),
        (_wrong_colors, "pixels differ"),
        (_other_version, "must hold bad version 1"),
        (_bad_deploy, "batching.max_size"),
        (_no_such_provider, "NoExecutionProvider is not in this onnxruntime"),
    ],
)
async def test_a_broken_package_is_known_by_its_reason_and_stops_nothing_else(
    folders: dict[str, Path], tmp_path: Path, photos: list[bytes], spoil: object, said: str
):
    make_package(tmp_path / "bad" / "1", name="bad")
    shutil.copytree(folders["masks"], tmp_path / "masks" / "1")
    spoil(tmp_path / "bad" / "1")
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        bad, masks = await client.list_models()
        assert said in bad.reason
        assert not bad.ready
        assert masks.ready
        assert isinstance(await client.predict("masks", photos[0]), Prediction)
        with pytest.raises(ModelNotReadyError):
            await client.predict("bad", photos[0])
        value = server.metrics.registry.get_sample_value
        assert value("ocella_model_loads_total", {"model": "bad", "version": "1", "result": "failed"}) == 1
        assert value("ocella_model_loads_total", {"model": "masks", "version": "1", "result": "ok"}) == 1
        assert value("ocella_model_ready", {"model": "bad", "version": "1"}) == 0
        failed = value("ocella_golden_checks_total", {"model": "bad", "version": "1", "result": "failed"}) or 0
        assert failed == (spoil is _wrong_colors)


async def test_a_server_of_which_no_model_loads_does_not_start(tmp_path: Path):
    make_package(tmp_path / "bad" / "1", name="bad")
    _edit(tmp_path / "bad" / "1")
    with pytest.raises(StartError, match="no model could be loaded: bad 1: recipe changed"):
        async with running_server(tmp_path):
            pass


async def test_without_folders_the_embedded_repository_is_served(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("serving.core.embedded_repository", lambda: repository)
    async with running_server() as server:
        assert len(server.catalog.statuses()) == 4
    monkeypatch.setattr("serving.core.embedded_repository", lambda: tmp_path / "none")
    with pytest.raises(StartError, match=r"give --models DIR: `ocella zoo pull"):
        async with running_server():
            pass


async def test_a_stop_finishes_what_is_inside_and_refuses_what_is_new(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    stop, stopped = asyncio.Event(), asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    catalogs = []

    async def serve() -> None:
        async with running_server(repository) as server:
            catalogs.append(server.catalog)
            started.set_result(server.grpc_address)
            await stop.wait()
        stopped.set()

    serving = asyncio.create_task(serve())
    async with AsyncVisionClient(await started, timeout_s=PATIENCE_S) as client:
        inside = [asyncio.create_task(client.predict("classes", photos[i])) for i in range(10)]
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        batcher = catalogs[0].find("classes", 1).batcher
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < len(inside):
                await asyncio.sleep(0)
        stop.set()
        await catalogs[0].draining.wait()
        with pytest.raises(DrainingError):
            await client.predict("classes", photos[0])
        assert not stopped.is_set()
        made[0].gate.set()
        assert all(isinstance(answer, Prediction) for answer in await asyncio.gather(*inside))
        await serving


async def test_a_stop_waits_no_longer_than_its_grace(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository, grace_s=0.05) as server:
        client = AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S, retry=None)
        hung = asyncio.create_task(client.predict("classes", photos[0]))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
    with pytest.raises(DrainingError, match="stopped before the answer was ready"):
        await hung
    made[0].gate.set()
    await client.close()


async def test_choices_of_deploy_toml_reach_the_runs(folders: dict[str, Path], tmp_path: Path):
    shutil.copytree(folders["classes"], tmp_path / "classes" / "1")
    (tmp_path / "classes" / "deploy.toml").write_text(
        "[batching]\nmax_size = 3\nmax_delay_ms = 1.5\nmax_queue = 5\n[runtime]\ninstances = 2\n"
    )
    async with running_server(tmp_path) as server:
        policy = server.catalog.find("classes", 0).policy
        assert (policy.max_size, policy.max_delay_ms, policy.max_queue, policy.slots) == (3, 1.5, 5, 2)
        assert policy.capacity == 11


async def test_a_graph_of_fixed_batch_runs_one_row_at_a_time(
    tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    graph = embedder_graph()
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    make_package(tmp_path / "vectors" / "1", graph=graph, head=embedding_head(), name="vectors")
    async with running_server(tmp_path) as server:
        assert server.catalog.find("vectors", 0).policy.max_size == 1
        async with AsyncVisionClient(server.grpc_address) as client:
            answers = await asyncio.gather(*(client.predict("vectors", image) for image in photos))
            alone = [await client.predict("vectors", image) for image in photos]
    for a, b in zip(answers, alone, strict=True):
        np.testing.assert_array_equal(a.result.vector, b.result.vector)


async def test_a_model_whose_manifest_cannot_be_read_has_no_task(tmp_path: Path):
    make_package(tmp_path / "good" / "1", name="good")
    make_package(tmp_path / "bad" / "1", name="bad")
    _no_json(tmp_path / "bad" / "1")
    async with running_server(tmp_path) as server:
        assert [(status.name, status.task) for status in server.catalog.statuses()] == [
            ("bad", ""),
            ("good", "classification"),
        ]


class Announcements:
    """What ``serve`` says, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._said = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._said.set()

    async def wait_for(self, word: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(word in line for line in self.lines):
                self._said.clear()
                await self._said.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_server_and_then_means_what_it_always_means(repository: Path, number: signal.Signals):
    ordinary, said = signal.getsignal(number), Announcements()
    serving = asyncio.create_task(serve(settings_for(repository), said))
    await said.wait_for("ready: classes 1, masks 1, things 1, vectors 1")
    os.kill(os.getpid(), number)
    await serving
    assert said.lines[0].startswith("gRPC on 127.0.0.1:")
    assert said.lines[-1] == "stopping"
    assert signal.getsignal(number) in (ordinary, signal.SIG_DFL, signal.default_int_handler)


async def test_a_signal_while_models_load_stops_the_server(repository: Path, monkeypatch: pytest.MonkeyPatch):
    loading, gate, said = threading.Event(), threading.Event(), Announcements()

    def load(folder: Path, **_: object) -> None:
        loading.set()
        assert gate.wait(PATIENCE_S)
        raise RuntimeError("nobody waits for this any more")

    monkeypatch.setattr("serving.loading.load_package", load)
    serving = asyncio.create_task(serve(settings_for(repository), said))
    assert await asyncio.to_thread(loading.wait, PATIENCE_S)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    gate.set()
    assert [line.split()[0] for line in said.lines] == ["gRPC", "stopping"]


async def test_serving_ends_with_the_reason_where_no_model_loads(tmp_path: Path):
    make_package(tmp_path / "bad" / "1", name="bad")
    _edit(tmp_path / "bad" / "1")
    said = Announcements()
    with pytest.raises(StartError, match="no model could be loaded: bad 1: recipe changed"):
        await serve(settings_for(tmp_path), said)
    assert len(said.lines) == 1


async def test_what_is_not_ready_is_announced(tmp_path: Path):
    make_package(tmp_path / "good" / "1", name="good")
    make_package(tmp_path / "bad" / "1", name="bad")
    _edit(tmp_path / "bad" / "1")
    said = Announcements()
    serving = asyncio.create_task(serve(settings_for(tmp_path), said))
    await said.wait_for("ready: good 1\nnot ready: bad 1: recipe changed")
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
