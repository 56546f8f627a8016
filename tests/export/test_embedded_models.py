"""The embedded models: proven, small, and what torch, package and server score on held-out data is one figure.

Each manifest holds what training measured of the torch module (``provenance.metrics``). Data are downloaded once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ocella
from pipelines.gate_replay import replay_grid
from pipelines.grid import RUNTIMES
from pipelines.loader import load_model
from pipelines.manifest import read_manifest
from tests.serving.servers import server_in_thread

MODELS = Path(__file__).parents[2] / "models"
NAMES = ["digits", "nuclei", "orl-faces", "trees"]
MOST_BYTES = 8 * 2**20
# Training judges every box from 0.01 on, as many as the head answers.
AS_TRAINED = {"trees": ("--score-threshold", "0.01", "--max-detections", "500")}
# Sums of another order than torch's move a near-tie now and then: one of 360 digits, or of 450 genuine pairs of faces,
# is 0.003; a box that changes its place among those of equal score moves AP50 by less.
WITHIN = 0.003


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    code = ocella.main(["evaluate", *words, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)["metrics"]


def data_words(name: str) -> Sequence[str]:
    return ("--data", f"{name}/test", *AS_TRAINED.get(name, ()))


@pytest.mark.parametrize("name", NAMES)
def test_an_embedded_model_passed_the_gate_unscaled_and_passes_again_here(name: str) -> None:
    package = MODELS / name / "1"
    manifest = read_manifest(package)
    gate = (manifest.provenance.parity or {})["gate"]
    assert (gate["passed"], gate["scaled"], manifest.golden.reference) == (True, [], "torch")
    again = replay_grid(manifest, package)
    assert (again.cases, again.runtimes) == (len(gate["grid"]), len(RUNTIMES))
    assert again.compared > 0


def test_the_embedded_models_are_small_enough_for_the_wheel() -> None:
    assert sorted(path.name for path in MODELS.iterdir() if path.is_dir()) == NAMES
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_package_scores_what_its_torch_checkpoint_did_offline_and_through_a_server(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with load_model(MODELS / name / "1") as loaded:
        torch_metrics = {key: metric.value for key, metric in loaded.manifest.provenance.metrics.items()}
    offline = evaluated(capsys, str(MODELS / name), *data_words(name))
    with server_in_thread(MODELS) as server:
        remote = evaluated(capsys, "--server", server.grpc_address, "--model", name, *data_words(name))
    assert remote == offline
    assert offline.keys() >= torch_metrics.keys()
    assert {key: offline[key] for key in torch_metrics} == pytest.approx(torch_metrics, abs=WITHIN)
