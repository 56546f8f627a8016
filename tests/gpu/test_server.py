"""A server whose models run on CUDA, asked over gRPC."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from pipelines.agreement import compare_results
from pipelines.errors import ModelNotReadyError
from pipelines.golden import cuts_of
from pipelines.loader import load_package
from pipelines.manifest import read_manifest
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.card_memory import Card, card_now
from serving.client import AsyncVisionClient
from serving.memory import MIB
from serving.oip.tensors import Tensor, from_raw
from serving.settings import StartError
from tests.gpu.conftest import CPU, CUDA, DEPLOY, MODELS, TOLERANCE
from tests.gpu.test_packages import NO_OPTIONS
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.oip.test_service import request
from tests.serving.servers import PATIENCE_S, Offline, running_server


@pytest.mark.parametrize("name", MODELS)
async def test_results_over_grpc_are_those_of_the_cpu_whoever_shares_the_batch(
    repository: Path, folders: dict[str, Path], photos: list[bytes], name: str
) -> None:
    offline, manifest = Offline({name: folders[name]}), read_manifest(folders[name])
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        assert (await client.describe_model(name)).provider == CUDA
        many = photos * 6
        answers = await asyncio.gather(*(client.predict(name, data) for data in many))
    for data, answer in zip(many, answers, strict=True):
        found = compare_results(offline(name, data), answer.result, TOLERANCE, cuts_of(manifest, NO_OPTIONS))
        assert found.problem is None


async def test_tensors_over_grpc_are_those_of_the_cpu_row_by_row(repository: Path, folders: dict[str, Path]) -> None:
    batches = [np.random.default_rng(i).normal(size=(1 + i % 5, 3, 96, 128)).astype(np.float32) for i in range(40)]
    async with running_server(repository) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answers = await asyncio.gather(
            *(stub.ModelInfer(request("classes", Tensor("image", "FP32", batch))) for batch in batches)
        )
    with load_package(folders["classes"]) as on_cpu:
        for batch, answer in zip(batches, answers, strict=True):
            (output,) = answer.outputs
            got = from_raw(output.name, output.datatype, tuple(output.shape), answer.raw_output_contents[0]).array
            expected = on_cpu.session.run({"image": batch})["logits"]
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)  # sums in another order


async def test_models_are_replaced_under_load_without_an_error(tmp_path: Path, photos: list[bytes]) -> None:
    for version in (1, 2):
        make_package(
            tmp_path / "all" / str(version),
            graph=classifier_graph(seed=version),
            name="classes",
            version=version,
            tolerance=TOLERANCE,
        )
    model = tmp_path / "served" / "classes"
    shutil.copytree(tmp_path / "all" / "1", model / "1")
    (model / "deploy.toml").write_text(DEPLOY)
    seen: set[int] = set()
    async with (
        running_server(tmp_path / "served") as server,
        AsyncVisionClient(server.grpc_address, timeout_s=60) as client,
    ):
        done = asyncio.Event()

        async def ask(data: bytes) -> None:
            while not done.is_set():
                seen.add((await client.predict("classes", data)).version)

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for data in photos:
                group.create_task(ask(data))
            shutil.copytree(tmp_path / "all" / "2", model / "2")
            for _ in range(3):
                await server.lifecycle.load("classes")
            while 2 not in seen:
                await asyncio.sleep(0)
            done.set()
    assert seen == {1, 2}


async def test_a_device_that_is_not_there_is_refused_unless_a_fallback_is_allowed(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    model = tmp_path / "classes"
    shutil.copytree(folders["classes"], model / "1")
    elsewhere = DEPLOY + "{require}\n[runtime.cuda]\ndevice_id = 255\n"
    (model / "deploy.toml").write_text(elsewhere.format(require="require = false"))
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        assert (await client.describe_model("classes")).provider == CPU
        (model / "deploy.toml").write_text(elsewhere.format(require="require = true"))
        with pytest.raises(ModelNotReadyError):
            await server.lifecycle.load("classes")


async def test_a_load_that_no_card_has_room_for_is_refused_and_a_second_one_needs_what_the_first_one_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "classes"
    make_package(model / "1", name="classes", tolerance=TOLERANCE)
    (model / "deploy.toml").write_text(f"{DEPLOY}gpu_memory_mb = 16777216\n")
    with pytest.raises(
        StartError, match=r"needs about 16777216 MiB of memory on GPU 0 \(.+\), \d+ of \d+ MiB are free"
    ):
        async with running_server(tmp_path):
            pass
    (model / "deploy.toml").write_text(DEPLOY)
    async with running_server(tmp_path) as server:
        labels = {"model": "classes", "version": "1", "source": "gpu"}
        took = server.metrics.registry.get_sample_value("ocella_model_memory_bytes", labels)
        assert took is not None
        assert took >= (model / "1" / "model.onnx").stat().st_size
        make_package(model / "2", graph=classifier_graph(seed=2), name="classes", version=2, tolerance=TOLERANCE)
        with monkeypatch.context() as full:
            full.setattr("serving.headroom.card_now", lambda device: replace(known(card_now(device)), free=0))
            with pytest.raises(ModelNotReadyError, match=f"needs about {int(took) // MIB} MiB .+, 0 of"):
                await server.lifecycle.load("classes")
        await server.lifecycle.load("classes")
        assert server.catalog.find("classes", 0).version == 2


def known(card: Card | None) -> Card:
    assert card is not None
    return card


async def test_the_metrics_of_the_gpu_are_those_of_nvidia_smi(repository: Path) -> None:
    said = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.total,memory.used,temperature.gpu", "--format=csv,noheader,nounits"],
        check=True,
        capture_output=True,
        text=True,
    )
    total, used, celsius = map(float, said.stdout.splitlines()[0].split(","))
    async with running_server(repository) as server:
        url = f"http://{server.http_address}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode())
    told = {
        line.split("{")[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("ocella_gpu_") and 'gpu="0"' in line
    }
    mib = 1024 * 1024
    assert told["ocella_gpu_memory_total_bytes"] == pytest.approx(total * mib, rel=1e-3)
    assert told["ocella_gpu_memory_used_bytes"] >= used * mib * 0.9  # the models have come since
    assert told["ocella_gpu_temperature_celsius"] == pytest.approx(celsius, abs=20)
    assert told["ocella_gpu_power_watts"] > 0
    assert 0 <= told["ocella_gpu_utilization_ratio"] <= 1
    assert f'provider="{CUDA}"' in text
