"""Commands on a machine with a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ocella
from pipelines.agreement import compare_results
from pipelines.golden import cuts_of
from pipelines.image import ImageLimits
from pipelines.loader import load_package
from pipelines.manifest import read_manifest
from pipelines.options import PredictOptions
from pipelines.present import to_json
from pipelines.tasks import predict
from serving.batch.local import local_engine
from serving.repository import embedded_repository
from tests.gpu.conftest import CUDA, MODELS, ON_CUDA
from tests.gpu.test_packages import BUILT_IN, NO_OPTIONS
from tests.serving.batch.jobs import rows, run

NEAR = 2e-3  # of scores, pixels and vectors in JSON: sums in another order on the GPU


def near(a: Any, b: Any) -> bool:
    """Whether two JSON documents are equal but for small differences of their numbers."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(near, a, b))
    if isinstance(a, float):
        return isinstance(b, int | float) and abs(a - b) <= NEAR * max(1.0, abs(a))
    return bool(a == b)


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A result in JSON without what one pixel changes as a whole, and without the order of detections."""
    if "detections" in result:
        return {"scores": sorted(one["score"] for one in result["detections"])}
    plain: dict[str, Any] = json.loads(json.dumps(result))
    plain = {name: value for name, value in plain.items() if not name.endswith("_png")}
    for one in plain.get("classes", []):
        one["pixels"] = float(one.get("pixels", 0))
    return plain


def test_the_doctor_finds_the_gpu_and_a_session_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert ocella.main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"]
    assert said["gpus"][0]["memory_bytes"] > 0
    assert CUDA in said["providers"]
    assert not [finding for finding in said["findings"] if finding["level"] == "fix"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_verify_replays_a_package_and_its_gate_on_the_gpu(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ocella.main(["verify", str(embedded_repository() / name / "1"), "--provider", CUDA, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provider"] == CUDA


def test_the_plan_gives_a_model_on_the_gpu_two_runs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ocella.main(["serve", "--models", str(repository), "--plan"]) == 0
    assert "runs at once: 2 (on a GPU" in capsys.readouterr().out


def test_bench_measures_the_server_on_the_gpu_beside_a_floor_on_the_gpu(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(folders["classes"]), "--concurrency", "4", "--duration", "0.5", "--json"]
    assert ocella.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["loads"][0]["codes"].keys() == {"OK"}
    assert said["floor"]["threads"] >= 1


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_job_on_the_gpu_gives_the_results_of_the_cpu(
    tmp_path: Path, folders: dict[str, Path], photos: list[bytes], name: str
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i, data in enumerate(photos):
        (source / f"{i:02}.png").write_bytes(data)
    run(tmp_path / "out", source, engine=local_engine(folders[name], PredictOptions()))
    found = [row["result"] for row in rows(tmp_path / "out")]
    with load_package(folders[name]) as on_cpu:
        images = [on_cpu.pipeline.decode(data, ImageLimits()) for data in photos]
        expected = [predict(on_cpu.pipeline, on_cpu.session, [image], PredictOptions())[0] for image in images]
    assert all(near(comparable(to_json(one)), comparable(row)) for one, row in zip(expected, found, strict=True))


def test_the_same_image_twice_gives_the_same_answer_on_the_gpu(folders: dict[str, Path], photos: list[bytes]) -> None:
    manifest = read_manifest(folders["things"])
    with load_package(folders["things"], options=ON_CUDA) as model:
        image = model.pipeline.decode(photos[0], ImageLimits())
        first, again = (predict(model.pipeline, model.session, [image], PredictOptions())[0] for _ in range(2))
    found = compare_results(first, again, manifest.golden.tolerance, cuts_of(manifest, NO_OPTIONS))
    assert found.problem is None
