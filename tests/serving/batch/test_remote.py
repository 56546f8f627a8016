"""A model on a server: the results of the package, and what a server that dies and returns does to a job."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    NotAllowedError,
    OverloadedError,
    ServerFaultError,
    ServiceUnavailableError,
    UnauthenticatedError,
    UnknownModelError,
)
from pipelines.options import PredictOptions
from serving.app import ListeningServer
from serving.batch import remote
from serving.batch.engine import Engine
from serving.batch.errors import JobError
from serving.batch.local import local_engine
from serving.batch.remote import remote_engine
from serving.client import AsyncVisionClient, ModelDescription, Prediction, VisionClient
from serving.client.errors import error_of_call
from tests.cascades import make_cascade
from tests.corpus import encode
from tests.serving.batch.jobs import data_files, image, image_folder, rows, run
from tests.serving.servers import PATIENCE_S, server_in_thread

NO_OPTIONS = PredictOptions()


def engine_of(server: str, model: str, *, patience_s: float = PATIENCE_S, options: PredictOptions = NO_OPTIONS) -> Any:
    return remote_engine(server, model, options, concurrency=4, patience_s=patience_s, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
def test_a_server_and_a_package_give_the_same_bytes(
    tmp_path: Path, shared_server: ListeningServer, folders: dict[str, Path], model: str
):
    folder = image_folder(tmp_path / "in", 12, bad=(5,))
    run(tmp_path / "here", folder, engine=local_engine(folders[model], NO_OPTIONS))
    run(tmp_path / "there", folder, engine=engine_of(shared_server.grpc_address, model))
    assert len(rows(tmp_path / "here")) == 11
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_a_cascade_gives_the_same_bytes_on_a_server(tmp_path: Path):
    cascade = make_cascade(tmp_path / "pair" / "1", second="segmentation")
    folder = image_folder(tmp_path / "in", 4, bad=(2,))
    over: dict[str, Any] = {"formats": ("jsonl", "parquet"), "draw": True}
    run(tmp_path / "here", folder, engine=local_engine(cascade, NO_OPTIONS), **over)
    with server_in_thread(cascade.parent) as server:
        run(tmp_path / "there", folder, engine=engine_of(server.grpc_address, "pair"), **over)
    assert len(rows(tmp_path / "here")) == 3
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_a_job_begun_in_process_goes_on_through_a_server_of_the_same_package(
    tmp_path: Path, shared_server: ListeningServer, folders: dict[str, Path]
):
    folder = image_folder(tmp_path / "in", 3)
    run(tmp_path / "out", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    (folder / "9999.png").write_bytes(image(77))
    summary = run(tmp_path / "out", folder, engine=engine_of(shared_server.grpc_address, "classes"))
    assert (summary.tally.ok, summary.computed) == (4, 1)


def test_a_model_that_the_server_does_not_know_is_refused(tmp_path: Path, shared_server: ListeningServer):
    folder = image_folder(tmp_path / "in", 1)
    with pytest.raises(JobError, match="no model is called 'cats'"):
        run(tmp_path / "out", folder, engine=engine_of(shared_server.grpc_address, "cats"))


def test_no_server_at_all_is_one_clear_error(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 1)
    with pytest.raises(JobError, match=r"127\.0\.0\.1:1"):
        run(tmp_path / "out", folder, engine=engine_of("127.0.0.1:1", "classes"))


@asynccontextmanager
async def troubled(
    server: str,
    trouble: Callable[[int, bytes], Exception | None],
    *,
    patience_s: float = PATIENCE_S,
    described: Callable[[ModelDescription], ModelDescription] = lambda same: same,
) -> AsyncIterator[Engine]:
    """An engine whose client raises what ``trouble`` gives for the n-th request, from 1."""
    asked = 0

    class Client(AsyncVisionClient):
        async def predict(self, model: str, image: Any, **arguments: Any) -> Prediction:
            nonlocal asked
            asked += 1
            error = trouble(asked, image)
            if error:
                raise error
            return await super().predict(model, image, **arguments)

        async def describe_model(self, model: str, **arguments: Any) -> ModelDescription:
            found = await super().describe_model(model, **arguments)
            return described(found) if asked else found

    async with Client(server, timeout_s=PATIENCE_S) as client:
        yield remote.RemoteEngine(
            client, await client.describe_model("classes"), NO_OPTIONS, concurrency=4, patience_s=patience_s
        )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none takes any time."""
    made: list[float] = []

    async def at_once(seconds: float) -> None:
        made.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(remote, "sleep", at_once)
    return made


@pytest.mark.parametrize(
    "error",
    [
        ServiceUnavailableError("connection refused"),
        DrainingError("the server is stopping"),
        OverloadedError("at most 4 requests may be inside", retry_after_s=0.01),
    ],
)
def test_a_server_that_goes_away_and_returns_costs_no_image(
    tmp_path: Path, shared_server: ListeningServer, pauses: list[float], error: Exception
):
    folder = image_folder(tmp_path / "in", 10)
    engine = troubled(shared_server.grpc_address, lambda n, _: error if 3 <= n <= 12 else None)
    summary = run(tmp_path / "out", folder, engine=engine)
    assert (summary.complete, summary.tally.ok) == (True, 10)
    assert pauses[0] == remote.FIRST_PAUSE_S
    assert max(pauses) > remote.FIRST_PAUSE_S


def test_a_server_that_stays_away_ends_the_job_which_goes_on_later(tmp_path: Path, shared_server: ListeningServer):
    folder = image_folder(tmp_path / "in", 10)
    gone = ServiceUnavailableError("connection refused")
    engine = troubled(shared_server.grpc_address, lambda n, _: gone if n > 4 else None, patience_s=0)
    summary = run(tmp_path / "out", folder, engine=engine)
    assert not summary.complete
    assert "must answer within 0 s, it did not: connection refused" in summary.problem
    assert not (tmp_path / "out" / "results.jsonl").exists()
    assert run(tmp_path / "out", folder, engine=engine_of(shared_server.grpc_address, "classes")).tally.ok == 10


def test_a_server_that_returns_with_another_package_ends_the_job(
    tmp_path: Path, shared_server: ListeningServer, pauses: list[float]
):
    from dataclasses import replace

    folder = image_folder(tmp_path / "in", 10)
    engine = troubled(
        shared_server.grpc_address,
        lambda n, _: ServiceUnavailableError("gone") if n == 3 else None,
        described=lambda found: replace(found, manifest_json='{"name": "another"}'),
    )
    summary = run(tmp_path / "out", folder, engine=engine)
    assert "must serve the package that the job began with, its classes 1 is another one now" in summary.problem
    assert pauses != []


def test_a_model_that_is_taken_away_ends_the_job(tmp_path: Path, shared_server: ListeningServer):
    folder = image_folder(tmp_path / "in", 4)
    engine = troubled(shared_server.grpc_address, lambda n, _: UnknownModelError("no model is called 'classes'"))
    assert run(tmp_path / "out", folder, engine=engine).problem == "no model is called 'classes'"


@pytest.mark.parametrize("error", [UnauthenticatedError("the token has expired"), NotAllowedError("not for you")])
def test_a_caller_who_is_not_let_in_any_more_ends_the_job_and_no_image_is_at_fault(
    tmp_path: Path, shared_server: ListeningServer, error: Exception
):
    folder = image_folder(tmp_path / "in", 10)
    engine = troubled(shared_server.grpc_address, lambda n, _: error if n > 4 else None)
    summary = run(tmp_path / "out", folder, engine=engine)
    assert (summary.complete, summary.problem, summary.tally.failed) == (False, str(error), 0)


@pytest.mark.parametrize("below", [1, 200_000], ids=["image", "message"])
def test_what_is_too_large_for_one_server_is_tried_again_on_another(
    tmp_path: Path, repository: Path, shared_server: ListeningServer, below: int
):
    """The server itself refuses an image above its limit; far above it gRPC refuses the message."""
    folder = image_folder(tmp_path / "in", 3)
    large = encode(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8), "PNG")
    (folder / "0001.png").write_bytes(large)
    with server_in_thread(repository, max_image_bytes=len(large) - below) as server:
        summary = run(tmp_path / "out", folder, engine=engine_of(server.grpc_address, "classes"))
        address = server.grpc_address
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (summary.complete, summary.tally.ok, error["reason"]) == (True, 2, "ImageTooLargeError")
    assert f"image has {len(large):,} bytes" in error["message"]
    assert address not in error["message"]
    assert run(tmp_path / "out", folder, engine=engine_of(shared_server.grpc_address, "classes")).tally.ok == 3


def test_a_proxys_limit_of_rate_is_waited_for(tmp_path: Path, shared_server: ListeningServer, pauses: list[float]):
    class Refusal(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self) -> str:
            return "rate limited"

        def trailing_metadata(self) -> tuple[()]:
            return ()

    error = error_of_call(Refusal(), "host:1")
    error.__context__ = Refusal()  # as where the client raises it
    folder = image_folder(tmp_path / "in", 10)
    engine = troubled(shared_server.grpc_address, lambda n, _: error if 3 <= n <= 6 else None)
    summary = run(tmp_path / "out", folder, engine=engine)
    assert (summary.complete, summary.tally.ok) == (True, 10)
    assert pauses != []


def test_an_image_that_always_takes_too_long_is_quarantined_and_tried_by_the_next_run(
    tmp_path: Path, shared_server: ListeningServer, pauses: list[float]
):
    folder = image_folder(tmp_path / "in", 4)
    slow = DeadlineExceededError("the deadline passed")
    engine = troubled(shared_server.grpc_address, lambda _, data: slow if data == image(2) else None)
    summary = run(tmp_path / "out", folder, engine=engine)
    assert (summary.complete, summary.tally.ok, summary.tally.failed) == (True, 3, 1)
    assert run(tmp_path / "out", folder, engine=engine_of(shared_server.grpc_address, "classes")).tally.ok == 4


def test_the_words_of_a_servers_fault_carry_no_request_id(tmp_path: Path, shared_server: ListeningServer):
    folder = image_folder(tmp_path / "in", 4)
    fault = ServerFaultError("internal error, request 0123456789abcdef")
    engine = troubled(shared_server.grpc_address, lambda _, data: fault if data == image(1) else None)
    run(tmp_path / "out", folder, engine=engine)
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert error["message"] == "the server reported an internal error, its log says which"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.mark.slow
def test_a_server_process_that_is_killed_and_started_again_costs_no_image(
    tmp_path: Path, folders: dict[str, Path], repository: Path
):
    folder = image_folder(tmp_path / "in", 200, bad=(5,), equal={150: 3})
    run(tmp_path / "here", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    port = free_port()
    command = [sys.executable, "-m", "ocella", "serve", "--models", str(repository), "--port", str(port)]
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen([*command, "--http-port", str(free_port())], **quiet))

    def trouble(asked: int, _: bytes) -> None:
        if asked == 40:
            processes[0].kill()
            processes[0].wait()
            start()

    start()
    try:
        with VisionClient(f"127.0.0.1:{port}", timeout_s=PATIENCE_S) as client:
            client.wait_ready("classes", timeout_s=PATIENCE_S)
        summary = run(tmp_path / "there", folder, engine=troubled(f"127.0.0.1:{port}", trouble))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (summary.complete, summary.tally.ok, len(processes)) == (True, 199, 2)
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")
