"""Training and export with the model on a CUDA device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.draft import ExportChoices
from export.exporters import export_subject
from export.named.table import named_subject
from export.training.recipes import RECIPES
from tests.export.training.runs import config, loop
from tests.export.training.test_loop import assert_same, run, state_of

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@pytest.fixture(autouse=True)
def torch_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this torch finds no CUDA device")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path, precision: str) -> None:
    plan = config(loop=loop(accelerator="cuda", precision=precision, ema_decay=0.9))
    _, whole = run(tmp_path / "whole", plan)
    with pytest.raises(InterruptedError):
        run(tmp_path / "resumed", plan, stop_at=7)
    _, resumed = run(tmp_path / "resumed", plan, resume=True)
    assert next(whole.parameters()).is_cuda
    assert_same(whole.state_dict(), resumed.state_dict())
    for part in ("optimizer", "ema", "module"):
        assert_same(state_of(tmp_path / "whole")[part], state_of(tmp_path / "resumed")[part])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.slow
def test_a_recipe_trains_on_the_gpu(tmp_path: Path, name: str, precision: str) -> None:
    from export.cli import cache_root
    from export.training.run import run as train_recipe
    from export.training.sources import recipe_config, recipe_data
    from tests.export.training.runs import Silent

    root, recipe = cache_root(None).parent / "data", RECIPES[name]
    data = recipe_data(recipe, root, smoke=True, report=lambda _: None)
    plan = recipe_config(recipe, root, smoke=True, report=lambda _: None)
    plan = plan.model_copy(
        update={"loop": plan.loop.model_copy(update={"accelerator": "cuda", "precision": precision})}
    )
    torch.cuda.reset_peak_memory_stats()
    outcome = train_recipe(plan, data, out=tmp_path / "run", resume=False, source="a test", progress=Silent())
    assert torch.cuda.max_memory_allocated() > 0
    assert all(0 <= value <= 1 for name, value in outcome.metrics.items() if "loss" not in name)


def test_a_model_that_sits_on_the_gpu_passes_the_gate() -> None:
    subject = named_subject("mobilenet_v3_small", size_hw=(64, 64))
    subject.module.cuda()
    exported = export_subject(subject, ExportChoices(max_batch=2))
    assert exported.model is not None, exported.reports[-1].sentence
    assert next(subject.module.parameters()).is_cuda
