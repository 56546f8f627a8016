"""The loop: a resumed run ends with the same bits, what is kept, when it stops, what it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import nn

from export.training.checkpoint import read_tensors
from export.training.config import Adam, AdamW, CosineSchedule, OptimizerSpec, RmsProp, Sgd, TrainConfig
from export.training.loop import Outcome, train
from pipelines.errors import RecipeError
from tests.export.training.runs import PointsTask, Silent, config, loop


class Kept:
    """What the loop hands over to be kept."""

    def __init__(self) -> None:
        self.metrics: list[Mapping[str, float]] = []
        self.weights: dict[str, torch.Tensor] = {}

    def __call__(self, module: nn.Module, metrics: Mapping[str, float]) -> None:
        assert not module.training
        self.metrics.append(metrics)
        self.weights = {name: value.clone() for name, value in module.state_dict().items()}


def run(
    out: Path,
    plan: TrainConfig,
    *,
    task: PointsTask | None = None,
    resume: bool = False,
    stop_at: int | None = None,
    keep: Kept | None = None,
) -> tuple[Outcome, nn.Module]:
    out.mkdir(exist_ok=True)
    task = task or PointsTask()
    module = task.module()
    progress = Silent(stop_at=stop_at)
    outcome = train(task, module, plan, out=out, resume=resume, progress=progress, keep=keep or Kept())
    return outcome, module


def state_of(out: Path) -> dict[str, Any]:
    return read_tensors(out / "state.pt")


def assert_same(a: Any, b: Any) -> None:
    """Equal to the bit, tensors and nested mappings alike."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


# Four steps an epoch: 6 is in the middle of the second, whose last checkpoint is after step 5; 4 is at its beginning.
@pytest.mark.parametrize(
    ("stop_at", "optimizer"), [(4, Sgd()), (9, Sgd(nesterov=True)), (6, RmsProp()), (6, Adam()), (6, AdamW())]
)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, stop_at: int, optimizer: OptimizerSpec) -> None:
    plan = config(
        optimizer=optimizer,
        schedule=CosineSchedule(warmup_epochs=0.5),
        loop=loop(ema_decay=0.9, clip_norm=1.0, checkpoint_every=2),
    )
    whole, parts = Kept(), Kept()
    run(tmp_path / "whole", plan, keep=whole)
    with pytest.raises(InterruptedError):
        run(tmp_path / "parts", plan, stop_at=stop_at, keep=parts)
    torch.rand(7)  # where the global generator stands must not matter.
    run(tmp_path / "parts", plan, resume=True, keep=parts)

    a, b = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    for name in ("module", "optimizer", "ema", "epoch", "step", "best", "kept"):
        assert_same(a[name], b[name])
    assert_same(whole.weights, parts.weights)
    rows = [[{**row, "seconds": 0} for row in json.loads(state["history"])] for state in (a, b)]
    assert rows[0] == rows[1]


def test_another_seed_ends_with_other_weights(tmp_path: Path) -> None:
    first, second = (run(tmp_path / str(seed), config(seed=seed))[1] for seed in (0, 1))
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_workers_make_the_same_samples(tmp_path: Path) -> None:
    own = run(tmp_path / "own", config(loop=loop(epochs=1)))[1]
    worker = run(tmp_path / "worker", config(loop=loop(epochs=1, workers=1)))[1]
    assert_same(dict(own.state_dict()), dict(worker.state_dict()))


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    first, _ = run(tmp_path, config())
    again, _ = run(tmp_path, config(), resume=True)
    assert again == first


def test_a_row_that_was_not_written_is_there_after_a_resume(tmp_path: Path) -> None:
    run(tmp_path, config())
    journal = tmp_path / "metrics.jsonl"
    whole = journal.read_text()
    journal.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    run(tmp_path, config(), resume=True)
    assert journal.read_text() == whole


def test_resuming_with_another_config_names_the_key(tmp_path: Path) -> None:
    run(tmp_path, config())
    with pytest.raises(RecipeError, match=r"another loop\.batch_size \(4, now 8\)"):
        run(tmp_path, config(loop=loop(batch_size=8)), resume=True)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint at"):
        run(tmp_path, config(), resume=True)


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    keep = Kept()
    outcome, _ = run(tmp_path, config(loop=loop(keep="best")), task=PointsTask([0.5, 0.9, 0.7]), keep=keep)
    assert [metrics["accuracy"] for metrics in keep.metrics] == [0.5, 0.9]
    assert (outcome.kept_epoch, outcome.metrics) == (2, {"accuracy": 0.9})


def test_the_last_model_is_kept_where_asked(tmp_path: Path) -> None:
    keep = Kept()
    outcome, _ = run(tmp_path, config(loop=loop(keep="last")), task=PointsTask([0.5, 0.9, 0.7]), keep=keep)
    assert [metrics["accuracy"] for metrics in keep.metrics] == [0.7]
    assert outcome.kept_epoch == 3


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_stops_when_nothing_gets_better(tmp_path: Path, keep: str) -> None:
    plan = config(loop=loop(epochs=9, patience=2, keep=keep))
    kept = Kept()
    outcome, _ = run(tmp_path, plan, task=PointsTask([0.5, 0.9, 0.9, 0.8, 1.0]), keep=kept)
    assert outcome.epochs == 4
    assert outcome.kept_epoch == (2 if keep == "best" else 4)
    assert kept.metrics[-1] == outcome.metrics


def test_only_some_epochs_are_evaluated_and_the_last_always(tmp_path: Path) -> None:
    run(tmp_path, config(loop=loop(epochs=5, evaluate_every=2)))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "accuracy" in row] == [2, 4, 5]


def test_a_run_writes_its_numbers_curves_pictures_and_events(tmp_path: Path) -> None:
    run(tmp_path, config())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(row["loss"] == pytest.approx(2 * row["loss/half"]) for row in rows)
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 0
    assert cv2.imread(str(tmp_path / "pictures" / "predictions.png")).shape == (4, 6, 3)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_frozen_parameters_and_their_norms_stay(tmp_path: Path) -> None:
    task = PointsTask()
    before = {name: value.clone() for name, value in task.module().state_dict().items()}
    _, module = run(tmp_path, config(loop=loop(freeze=("0", "1"))))
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(("0.", "1.")))
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"loss must stay finite, it is (nan|inf) at step \d+: lower"):
        run(tmp_path, config(optimizer=Sgd(learning_rate=1e30)))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_weights_of_32_bits(tmp_path: Path, precision: str) -> None:
    _, module = run(tmp_path, config(loop=loop(epochs=1, precision=precision)))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not torch.equal(next(module.parameters()), next(PointsTask().module().parameters()))


def test_devices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must be CUDA devices that are there, 99 asked for"):
        run(tmp_path, config(loop=loop(accelerator="cuda", devices=99)))
