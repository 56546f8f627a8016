"""Where data come from: read as the model needs them."""

from __future__ import annotations

from pathlib import Path

from export.nets import BUILDERS
from export.nets.specs import EmbeddingNet
from export.training.config import DataSpec
from export.training.sources import TASK_OF_MODEL, config_data
from tests.export.training.runs import config, damage_pixels
from tests.export.training.test_cli_tasks import write_people


def test_every_model_has_a_task() -> None:
    assert TASK_OF_MODEL.keys() == BUILDERS.keys()


def test_folders_are_people_to_an_embedder_and_damaged_photos_are_skipped(tmp_path: Path) -> None:
    bad = damage_pixels(write_people(tmp_path) / "p0" / "1.png")
    said: list[str] = []
    plan = config(model=EmbeddingNet(), data=DataSpec(on_error="skip"))
    data = config_data(plan, tmp_path, smoke=False, report=said.append)
    assert data.train.task == "embedding"
    assert len(data.train) + len(data.test) == 19
    assert any(str(bad) in line for line in said)
