"""The file that training leaves: everything comes back, nothing in it is executed, what is damaged is named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from export.nets import ModelSpec, build_model
from export.nets.specs import GridDetector, LeNet5
from export.training.checkpoint import TrainedModel, load_trained, save_trained, write_atomically
from pipelines.errors import RecipeError
from pipelines.manifest import Metric

GRID = GridDetector(width=4, strides=(8,), anchors=(((8.0, 9.0), (20.0, 21.0)),), size_hw=(32, 64))


def trained(spec: ModelSpec) -> TrainedModel:
    architecture = build_model(spec, num_classes=3)
    return TrainedModel(
        module=architecture.module,
        image_spec=architecture.image,
        head_spec=architecture.head,
        labels=("a", "b", "c"),
        metrics={"top1": Metric(value=0.5, split="half of it")},
        name="tiny",
        description="three letters",
        license="Apache-2.0",
        source="nowhere",
        model=spec,
        num_classes=3,
        tools={"torch": torch.__version__},
        samples={"one": b"\x89PNG\0\xff"},
    )


@pytest.mark.parametrize("spec", [LeNet5(), GRID], ids=lambda spec: spec.kind)
def test_everything_comes_back(tmp_path: Path, spec: ModelSpec) -> None:
    before = trained(spec)
    save_trained(before, tmp_path / "model.pt")
    after = load_trained(tmp_path)
    assert not after.module.training
    weights = after.module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in before.module.state_dict().items())
    for name in ("image_spec", "head_spec", "labels", "metrics", "name", "license", "source", "model", "samples"):
        assert getattr(after, name) == getattr(before, name)


def test_loading_leaves_the_random_numbers_where_they_stand(tmp_path: Path) -> None:
    save_trained(trained(LeNet5()), tmp_path / "model.pt")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_trained(tmp_path / "model.pt")
    assert torch.equal(torch.rand(1), expected)


class Evil:
    """A pickle that would write a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_nothing_in_the_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fields": "", "samples": {}, "weights": Evil()}, tmp_path / "model.pt")
    with pytest.raises(RecipeError, match="must be a whole file of tensors"):
        load_trained(tmp_path / "model.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"fields": 1})])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(RecipeError, match=r"model\.pt"):
        load_trained(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_trained(trained(LeNet5()), tmp_path / "model.pt")
    raw = torch.load(tmp_path / "model.pt", weights_only=True)
    raw["weights"].popitem()
    write_atomically(tmp_path / "model.pt", raw)
    with pytest.raises(RecipeError, match="weights are not those of its model"):
        load_trained(tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint at"):
        load_trained(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    write_atomically(path, {"value": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, {"value": 2})
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
