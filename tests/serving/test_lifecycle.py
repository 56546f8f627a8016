"""Loading, reloading and unloading beside requests, on real servers."""

import asyncio
import errno
import logging
import os
import shutil
import sys
import threading
import weakref
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelNotReadyError, UnknownModelError
from pipelines.manifest import GRAPH_FILE
from pipelines.session import GraphSession
from serving.app import ListeningServer
from serving.catalog import ModelStatus
from serving.client import AsyncVisionClient
from serving.lifecycle import LOAD_NICENESS
from serving.memory import resident_bytes
from serving.settings import StartError
from tests.graphs import classifier_graph
from tests.packages import edit_manifest, make_package
from tests.serving.servers import PATIENCE_S, FaultySession, GatedSession, running_server, swap_session


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Three versions of one model, with weights of their own."""
    root = tmp_path_factory.mktemp("versions")
    return {
        number: make_package(root / str(number), graph=classifier_graph(seed=number), name="classes", version=number)
        for number in (1, 2, 3)
    }


def place(package: Path, root: Path, model: str = "classes") -> Path:
    """Put a version into a repository as the operator should: copied under another name, then renamed."""
    target = root / model / package.name
    temporary = root / f".{model}-{package.name}"
    shutil.copytree(package, temporary)
    target.parent.mkdir(parents=True, exist_ok=True)
    return temporary.rename(target)


def spoil(package: Path) -> None:
    graph = package / GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")


def answering(server: ListeningServer, name: str = "classes") -> list[int]:
    return [status.version for status in server.catalog.statuses() if status.name == name and status.ready]


async def until(server: ListeningServer, *ready: int, name: str = "classes") -> None:
    """Wait until exactly these versions answer."""
    async with asyncio.timeout(PATIENCE_S):
        while answering(server, name) != list(ready):
            changed = server.catalog.changed
            await changed.wait()


async def test_a_new_version_takes_the_place_of_the_old_one(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes]
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        assert (await client.predict("classes", photos[0])).version == 1
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 2
        with pytest.raises(UnknownModelError, match=r"must be among \[2\]"):
            await client.predict("classes", photos[0], version=1)


async def test_what_did_not_change_is_not_loaded_again(versions: dict[int, Path], tmp_path: Path):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        served = server.catalog.find("classes", 1)
        await server.lifecycle.load("classes")
        await server.lifecycle.rescan()
        assert server.catalog.find("classes", 1) is served


async def test_requests_inside_finish_on_the_old_version_which_is_freed_then(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    sessions: list[GraphSession] = []

    def gate_the_first(session: GraphSession) -> Any:
        sessions.append(GatedSession(session) if not sessions else session)
        return sessions[-1]

    swap_session(monkeypatch, "classes", gate_the_first)
    place(versions[1], tmp_path)
    async with (
        running_server(tmp_path, probation_s=0) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        gated = sessions[0]
        inside = asyncio.create_task(client.predict("classes", photos[0]))
        assert await asyncio.to_thread(gated.entered.acquire, timeout=PATIENCE_S)
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 2
        assert not inside.done()
        gated.gate.set()
        assert (await inside).version == 1
        await gone(lambda: run_threads("classes-1"))


OTHERS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
# Of an event loop's pool, which begins them when somebody first needs them.
LOOPS_OWN = ("uvloop", "asyncio")


@pytest.fixture(autouse=True)
def others() -> None:
    """Threads of servers that other tests share: they run models of the same names."""
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def run_threads(model: str) -> list[str]:
    mine = (thread for thread in threading.enumerate() if thread not in OTHERS)
    return [thread.name for thread in mine if thread.name.startswith(f"run-{model}")]


def not_numbers(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value * float("nan") for name, value in outputs.items()}


async def gone(what: Any) -> None:
    """Wait until there is nothing of it any more."""
    async with asyncio.timeout(PATIENCE_S):
        while what():
            await asyncio.sleep(0)


async def test_an_unloaded_model_is_known_and_answers_again_when_it_is_loaded(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes]
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        await server.lifecycle.unload("classes")
        assert server.lifecycle.index() == (ModelStatus("classes", 1, "classification", "unloaded"),)
        assert not await client.is_ready("classes")
        with pytest.raises(ModelNotReadyError, match="unloaded"):
            await client.predict("classes", photos[0])
        await server.lifecycle.rescan()
        assert not await client.is_ready("classes")
        await server.lifecycle.load("classes")
        assert await client.is_ready("classes")
        assert (await client.predict("classes", photos[0])).version == 1


async def test_a_model_that_failed_to_load_may_be_unloaded_and_stays_known(versions: dict[int, Path], tmp_path: Path):
    make_package(tmp_path / "well" / "1", name="well")
    spoil(place(versions[1], tmp_path))
    async with running_server(tmp_path) as server:
        await server.lifecycle.unload("classes")
        assert server.lifecycle.index()[0] == ModelStatus("classes", 1, "classification", "unloaded")
        assert server.catalog.is_serving("classes") is False


@pytest.mark.parametrize("name", ["cats", "", "../classes", "classes/1"])
async def test_only_names_under_the_folders_load(versions: dict[int, Path], tmp_path: Path, name: str):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        for ask in (server.lifecycle.load, server.lifecycle.unload):
            with pytest.raises(UnknownModelError, match="under the folders of --models"):
                await ask(name)
        assert answering(server) == [1]


async def test_a_load_that_fails_changes_nothing_and_says_why_without_a_path(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes], caplog: pytest.LogCaptureFixture
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        spoil(place(versions[2], tmp_path))
        with (
            caplog.at_level(logging.ERROR),
            pytest.raises(ModelNotReadyError, match=r"version 2: classes/2: model\.onnx has SHA-256") as caught,
        ):
            await server.lifecycle.load("classes")
        assert str(tmp_path) not in str(caught.value)
        assert f"{tmp_path}/classes/2: model.onnx has SHA-256" in caplog.text
        assert (await client.predict("classes", photos[0])).version == 1
        one, two = await client.list_models()
        assert one.ready
        assert two.reason.endswith("version 1 answers instead")
        assert str(tmp_path) not in two.reason


async def test_a_version_changed_in_place_to_something_broken_goes_on_as_it_was(
    versions: dict[int, Path], tmp_path: Path
):
    package = place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        served = server.catalog.find("classes", 1)
        spoil(package)
        with pytest.raises(ModelNotReadyError, match="has SHA-256"):
            await server.lifecycle.load("classes")
        assert server.catalog.find("classes", 1) is served


async def test_latest_falls_back_to_the_newest_version_that_loads_and_says_so(
    versions: dict[int, Path], tmp_path: Path
):
    for number in (1, 2):
        place(versions[number], tmp_path)
    spoil(place(versions[3], tmp_path))
    async with running_server(tmp_path) as server:
        assert answering(server) == [2]
        broken = server.catalog.statuses()[-1]
        assert broken.version == 3
        assert "has SHA-256" in broken.reason
        assert broken.reason.endswith("version 2 answers instead")
        assert server.lifecycle.index()[0] == ModelStatus("classes", 1, reason="not among the versions to serve")


@pytest.mark.parametrize(("policy", "expected"), [('"all"', [1, 2, 3]), ("[1, 3]", [1, 3]), ('"latest"', [3])])
async def test_the_version_policy_applies_when_it_changes(
    versions: dict[int, Path], tmp_path: Path, policy: str, expected: list[int]
):
    for package in versions.values():
        place(package, tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text("versions = [2]\n")
    async with running_server(tmp_path) as server:
        assert answering(server) == [2]
        (tmp_path / "classes" / "deploy.toml").write_text(f"versions = {policy}\n")
        await server.lifecycle.load("classes")
        assert answering(server) == expected


async def test_a_listed_version_that_fails_leaves_the_others(versions: dict[int, Path], tmp_path: Path):
    place(versions[1], tmp_path)
    spoil(place(versions[2], tmp_path))
    (tmp_path / "classes" / "deploy.toml").write_text('versions = "all"\n')
    async with running_server(tmp_path) as server:
        assert answering(server) == [1]
        assert server.catalog.find("classes", 0).version == 1


async def test_deploy_toml_applies_when_it_changes_and_a_bad_one_changes_nothing(
    versions: dict[int, Path], tmp_path: Path
):
    place(versions[1], tmp_path)
    deploy = tmp_path / "classes" / "deploy.toml"
    async with running_server(tmp_path) as server:
        deploy.write_text("[batching]\nmax_size = 3\n")
        await server.lifecycle.load("classes")
        assert server.catalog.find("classes", 1).policy.max_size == 3
        deploy.write_text("[batching]\nmax_size = 0\n")
        with pytest.raises(ModelNotReadyError, match=r"classes/deploy\.toml: batching\.max_size") as caught:
            await server.lifecycle.load("classes")
        assert str(tmp_path) not in str(caught.value)
        assert server.catalog.find("classes", 1).policy.max_size == 3


async def test_a_full_disk_leaves_the_old_version_serving(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/cache/engine")

    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        place(versions[2], tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("serving.loading.load_package", full)
            with pytest.raises(ModelNotReadyError, match="No space left on device"):
                await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 1
        await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 2


async def test_a_version_whose_canary_fails_after_the_swap_is_rolled_back(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        swap_session(monkeypatch, "classes", lambda session: FaultySession(session, not_numbers))
        place(versions[2], tmp_path)
        with pytest.raises(ModelNotReadyError, match=r"version 2: golden canary failed: .*raw outputs differ"):
            await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 1
        status = server.catalog.statuses()[-1]
        assert status.reason.startswith("rolled back to version 1: golden canary failed")
        labels = {"model": "classes", "version": "2"}
        assert server.metrics.registry.get_sample_value("ocella_model_rollbacks_total", labels) == 1
        assert server.metrics.registry.get_sample_value("ocella_model_ready", labels) == 0


async def test_a_version_that_fails_requests_on_probation_is_rolled_back(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    broken = threading.Event()

    def fail(outputs: dict[str, Any]) -> dict[str, Any]:
        if broken.is_set():
            raise RuntimeError("the model is broken on purpose")
        return outputs

    place(versions[1], tmp_path)
    async with (
        running_server(tmp_path, breaker_calls=4, probation_s=PATIENCE_S) as server,
        AsyncVisionClient(server.grpc_address) as client,
    ):
        swap_session(monkeypatch, "classes", lambda session: FaultySession(session, fail))
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        assert (await client.predict("classes", photos[0])).version == 2
        broken.set()
        await asyncio.gather(*(client.predict("classes", photos[0]) for _ in range(3)), return_exceptions=True)
        assert (await client.predict("classes", photos[0])).version == 1
        assert "3 of the last 4 requests failed" in server.catalog.statuses()[-1].reason


async def test_a_version_that_was_kept_to_go_back_to_may_be_asked_for_again(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes]
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path, probation_s=PATIENCE_S) as server:
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        (tmp_path / "classes" / "deploy.toml").write_text('versions = "all"\n')
        await server.lifecycle.load("classes")
        assert answering(server) == [1, 2]
        async with AsyncVisionClient(server.grpc_address) as client:
            assert (await client.predict("classes", photos[0], version=1)).version == 1
    assert not run_threads("classes")


async def test_after_its_probation_a_version_stays_and_the_one_before_is_freed(
    versions: dict[int, Path], tmp_path: Path, photos: list[bytes]
):
    place(versions[1], tmp_path)
    async with running_server(tmp_path, probation_s=0) as server, AsyncVisionClient(server.grpc_address) as client:
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        await gone(lambda: run_threads("classes-1"))
        assert (await client.predict("classes", photos[0])).version == 2


async def test_twenty_failed_loads_leak_nothing(versions: dict[int, Path], tmp_path: Path):
    """The first failures warm the process up; a session that stayed would hold a megabyte and a thread each."""
    place(versions[1], tmp_path)
    async with running_server(tmp_path, canary_interval_s=0) as server:  # a canary has a thread for a moment
        broken = place(versions[2], tmp_path)
        edit_manifest(broken, lambda raw: raw["image"].update(color="bgr"), reseal=True)  # fails in the golden replay

        async def fail(times: int) -> tuple[list[str], int, int]:
            for _ in range(times):
                with pytest.raises(ModelNotReadyError, match="pixels differ"):
                    await server.lifecycle.load("classes")
            async with asyncio.timeout(PATIENCE_S):  # nobody waits for the end of a load's thread
                while any(thread.name.startswith("load-") for thread in threading.enumerate()):
                    await asyncio.sleep(0)
            mine = (thread.name for thread in threading.enumerate() if thread not in OTHERS)
            names = sorted(name for name in mine if not name.startswith(LOOPS_OWN))
            return names, len(list(Path("/proc/self/fd").iterdir())), resident_bytes()

        threads, files, resident = await fail(5)
        threads_after, files_after, resident_after = await fail(20)
        assert (threads_after, files_after) == (threads, files)
        assert resident_after - resident < 8 * 2**20  # 20 sessions of this graph would be 20 arenas and their files
        assert answering(server) == [1]


@pytest.mark.parametrize(
    ("deploy", "settings", "said"),
    [
        ("[runtime]\nmemory_mb = 8000000\n", {}, r"loading needs about 8000000 MiB of memory, \d+ MiB are available"),
        (
            "",
            {"memory_budget_mb": 1},
            r"loading needs about \d+ MiB of memory, the server holds \d+ MiB of its budget of 1",
        ),
    ],
)
async def test_a_load_for_which_there_is_no_room_is_refused_with_the_numbers(
    versions: dict[int, Path], tmp_path: Path, deploy: str, settings: dict[str, Any], said: str
):
    place(versions[1], tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text(deploy)
    with pytest.raises(StartError, match=said):
        async with running_server(tmp_path, **settings):
            pass


async def test_a_load_that_never_ends_is_given_up(
    versions: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gate = threading.Event()
    place(versions[1], tmp_path)
    try:
        async with running_server(tmp_path, load_timeout_s=0.5) as server:
            monkeypatch.setattr("serving.loading.load_package", lambda *_, **__: gate.wait(PATIENCE_S))
            place(versions[2], tmp_path)
            with pytest.raises(ModelNotReadyError, match=r"loading must take at most 0\.5 s, it takes longer"):
                await server.lifecycle.load("classes")
            assert answering(server) == [1]
    finally:
        gate.set()


async def test_a_file_system_that_gives_up_is_a_failed_load_and_leaves_no_thread_behind(
    versions: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def give_up(folder: Path, **_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(folder / GRAPH_FILE))

    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        monkeypatch.setattr("serving.loading.load_package", give_up)
        place(versions[2], tmp_path)
        with pytest.raises(ModelNotReadyError, match=r"version 2: classes/2/model\.onnx: Connection timed out"):
            await server.lifecycle.load("classes")
        labels = {"model": "classes", "version": "2"}
        assert not server.metrics.registry.get_sample_value("ocella_leaked_threads", labels)


async def test_one_models_failed_reload_does_not_touch_another(versions: dict[int, Path], tmp_path: Path):
    place(versions[1], tmp_path)
    make_package(tmp_path / "other" / "1", name="other")
    async with running_server(tmp_path) as server:
        other = server.catalog.find("other", 1)
        spoil(place(versions[2], tmp_path))
        await server.lifecycle.rescan()
        assert server.catalog.find("other", 1) is other
        assert answering(server) == [1]


async def test_full_batches_are_run_before_a_version_answers_where_that_is_asked_for(
    versions: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def count(outputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(len(outputs["logits"]))
        return outputs

    swap_session(monkeypatch, "classes", lambda session: FaultySession(session, count))
    place(versions[1], tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text("[batching]\nmax_size = 5\n[warmup]\nruns = 2\n")
    async with running_server(tmp_path):
        assert seen == [5, 5]


async def test_a_fallback_to_another_provider_is_said_wherever_one_looks(
    versions: dict[int, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    place(versions[1], tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text(
        '[runtime]\nproviders = ["CUDAExecutionProvider", "CPUExecutionProvider"]\nrequire = false\n'
    )
    with caplog.at_level(logging.WARNING):
        async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
            assert (await client.describe_model("classes")).provider == "CPUExecutionProvider"
            infos = [
                sample.labels["provider"]
                for family in server.metrics.registry.collect()
                for sample in family.samples
                if sample.name == "ocella_model_info"
            ]
            assert infos == ["CPUExecutionProvider"]
    assert "classes 1: CUDAExecutionProvider was asked for, the session would run on CPU" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="threads are kept on cores on Linux alone")
async def test_run_threads_have_a_core_each_while_a_load_goes_on_and_run_anywhere_after_it(
    versions: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[list[set[int]]] = []
    others = set(threading.enumerate())  # of servers of other tests

    def note(session: GraphSession) -> GraphSession:
        seen.append(cores_of_run_threads(others))
        return session

    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        swap_session(monkeypatch, "classes", note)
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        after = cores_of_run_threads(others)
    everywhere = os.sched_getaffinity(0)
    assert seen == [[{core} for core in sorted(everywhere)]]
    assert after == [everywhere] * 2 * len(everywhere)  # of the version before, too, which is kept for a while


def cores_of_run_threads(others: Set[threading.Thread]) -> list[set[int]]:
    runs = [thread for thread in threading.enumerate() if thread.name.startswith("run-") and thread not in others]
    return [os.sched_getaffinity(thread.native_id or 0) for thread in sorted(runs, key=lambda one: one.name)]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
async def test_a_load_beside_requests_stands_back_unless_its_session_makes_threads_of_its_own(
    versions: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def note(session: GraphSession) -> GraphSession:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return session

    swap_session(monkeypatch, "classes", note)
    place(versions[1], tmp_path)
    async with running_server(tmp_path) as server:
        place(versions[2], tmp_path)
        await server.lifecycle.load("classes")
        (tmp_path / "classes" / "deploy.toml").write_text("[runtime]\nintra_op_threads = 2\n")
        await server.lifecycle.load("classes")
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen == [usual, min(19, usual + LOAD_NICENESS), usual]
