"""``ocella serve``, ``models`` and ``health`` as processes: start, stop, exit codes, one line for each mistake."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

import ocella
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, Prediction, VisionClient
from tests.graphs import classifier_graph
from tests.packages import edit_manifest, make_package
from tests.serving.servers import PATIENCE_S

COMMAND = (sys.executable, "-m", "ocella")


@contextmanager
def serving(*arguments: str, stderr: IO[str] | int = subprocess.PIPE) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its gRPC address, once it says that its models are ready."""
    command = [*COMMAND, "serve", "--port", "0", "--http-port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            address = re.fullmatch(r"gRPC on (\S+), HTTP on \S+\n", process.stdout.readline())
            assert address, process.stderr and process.stderr.read()
            assert process.stdout.readline().startswith("ready: ")
            yield process, address[1]
        finally:
            process.kill()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_with_requests_in_flight_loses_none(repository: Path, photos: list[bytes], number: int):
    with serving("--models", str(repository)) as (process, address):
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S) as client:
            await client.predict("things", photos[0])
            inside = [asyncio.create_task(client.predict("things", photos[i % len(photos)])) for i in range(100)]
            await inside[0]
            process.send_signal(number)
            outcomes = await asyncio.gather(*inside, return_exceptions=True)
        kinds = {type(outcome).__name__ for outcome in outcomes}
        assert kinds <= {"Prediction", "DrainingError"}, outcomes
        assert sum(isinstance(outcome, Prediction) for outcome in outcomes) >= 1
        assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0
        assert "Traceback" not in process.stderr.read()
        assert process.stdout.read() == "stopping\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_version_is_loaded_and_a_stop_is_in_order_where_the_disk_of_the_log_is_full(
    tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OCELLA_WATCH_INTERVAL_S", "0.05")
    make_package(tmp_path / "served" / "tiny" / "1")
    make_package(tmp_path / "2", version=2, graph=classifier_graph(seed=2))
    with (
        Path("/dev/full").open("w") as full,
        serving("--models", str(tmp_path / "served"), "--watch", stderr=full) as (process, address),
    ):
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S) as client, asyncio.timeout(PATIENCE_S):
            assert (await client.predict("tiny", photos[0])).version == 1
            (tmp_path / "2").rename(tmp_path / "served" / "tiny" / "2")
            while (await client.predict("tiny", photos[0])).version != 2:
                pass
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0


def test_a_server_outlives_the_reader_of_its_announcements(repository: Path):
    with serving("--models", str(repository)) as (process, _):
        process.stdout.close()
        process.send_signal(signal.SIGTERM)  # and "stopping" is said to nobody
        assert process.wait(PATIENCE_S) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_server_whose_reader_left_before_the_models_were_ready_answers(repository: Path):
    command = [*COMMAND, "serve", "--port", "0", "--http-port", "0", "--models", str(repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = re.fullmatch(r"gRPC on (\S+), HTTP on \S+\n", process.stdout.readline())
            process.stdout.close()
            assert address
            with VisionClient(address[1], timeout_s=PATIENCE_S) as client:
                client.wait_ready()
                assert len(client.list_models()) == 4
        finally:
            process.kill()


def test_a_server_says_which_models_are_not_ready(tmp_path: Path):
    make_package(tmp_path / "good" / "1", name="good")
    make_package(tmp_path / "bad" / "1", name="bad")
    edit_manifest(tmp_path / "bad" / "1", lambda raw: raw["image"].update(color="bgr"), reseal=False)
    with serving("--models", str(tmp_path)) as (process, address):
        assert re.match(r"not ready: bad 1: recipe changed", process.stdout.readline())
        assert run("health", "--server", address, "good").returncode == 0
        failed = run("health", "--server", address, "bad")
        assert (failed.returncode, failed.stderr) == (1, f"error: bad at {address} is not ready\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["serve", "--models", "/no/such/folder"], 1, "must be a folder of models, it is missing"),
        (["serve", "--models", "/", "--host", "0.0.0.0"], 1, "--insecure"),
        (["serve", "--models", "{repository}", "--host", "no such host"], 1, "has no address"),
        (["serve", "--models", "{repository}", "--port", "{busy}"], 1, "must be free for gRPC"),
        (["serve", "--models", "{repository}", "--port", "0", "--http-port", "{busy}"], 1, "must be free for HTTP"),
        (["health", "--server", "127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["models", "--server", "127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["health", "--server", "{busy_address}", "cats"], 1, "no model is called 'cats'"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    repository: Path,
    shared_server: ListeningServer,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
):
    busy = shared_server.grpc_address
    names = {"repository": str(repository), "busy": busy.rpartition(":")[2], "busy_address": busy}
    assert ocella.main([word.format(**names) for word in words]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_busy_grpc_port_is_one_line_and_none_of_grpcs_own(repository: Path, shared_server: ListeningServer):
    port = shared_server.grpc_address.rpartition(":")[2]
    failed = run("serve", "--models", str(repository), "--http-port", "0", "--port", port)
    assert failed.returncode == 1
    assert failed.stderr == f"error: port {port} of 127.0.0.1 must be free for gRPC: Address already in use\n"


def test_the_environment_reaches_the_command_and_its_options_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("OCELLA_MODELS", "/no/such/folder")
    assert ocella.main(["serve"]) == 1
    assert "/no/such/folder must be a folder" in capsys.readouterr().err
    assert ocella.main(["serve", "--models", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no package" in capsys.readouterr().err


def test_a_port_of_the_environment_is_the_one_that_is_bound(
    repository: Path,
    shared_server: ListeningServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    port = shared_server.grpc_address.rpartition(":")[2]
    monkeypatch.setenv("OCELLA_PORT", port)
    assert ocella.main(["serve", "--models", str(repository), "--http-port", "0"]) == 1
    assert f"port {port} of 127.0.0.1 must be free for gRPC" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--port", "70000"],
        ["serve", "--nonsense"],
        ["models", "extra"],
        ["models", "--server", "127.0.0.1:99999"],
        ["health", "--server", ""],
    ],
)
def test_a_misused_command_exits_with_2(capsys: pytest.CaptureFixture[str], words: list[str]):
    assert ocella.main(words) == 2
    capsys.readouterr()


def test_models_are_printed_as_rows(shared_server: ListeningServer, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["models", "--server", shared_server.grpc_address]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["classes", "1", "classification", "ready"]
    assert len(rows) == 4


def test_models_as_json_are_one_document(shared_server: ListeningServer, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["models", "--server", shared_server.grpc_address, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[2] == {"name": "things", "version": 1, "task": "detection", "ready": True, "reason": ""}


def test_health_of_a_ready_server_and_model_exits_with_0(
    shared_server: ListeningServer, capsys: pytest.CaptureFixture[str]
):
    assert ocella.main(["health", "--server", shared_server.grpc_address]) == 0
    assert ocella.main(["health", "--server", shared_server.grpc_address, "things"]) == 0
    assert capsys.readouterr().out == "ready\nready\n"


@pytest.mark.parametrize("command", ["serve", "models", "health"])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], command: str):
    assert ocella.main([command, "--help"]) == 0
    assert f"Example: ocella {command}" in " ".join(capsys.readouterr().out.split())


def test_a_serving_process_holds_no_torch_and_no_onnx(repository: Path):
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from serving.app import listening\n"
        "from serving.settings import Settings\n"
        "async def main():\n"
        f"    async with listening(Settings(models=(Path({str(repository)!r}),), port=0, http_port=0)) as server:\n"
        "        await server.load()\n"
        "asyncio.run(main())\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == "['onnxruntime']\n"


def test_importing_the_client_loads_neither_onnxruntime_nor_torch():
    code = "import sys, serving.client; print(sorted({'torch', 'onnx', 'onnxruntime', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == "[]\n"


def test_a_killed_server_is_unavailable_to_its_clients(repository: Path, photos: list[bytes]):
    from pipelines.errors import ServiceUnavailableError

    with serving("--models", str(repository)) as (process, address), VisionClient(address) as client:
        client.predict("classes", photos[0])
        process.kill()
        process.wait(PATIENCE_S)
        with pytest.raises(ServiceUnavailableError, match=address):
            client.predict("classes", photos[0])
