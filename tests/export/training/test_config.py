"""Configs: what a user writes, and the key that every error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.training.config import AdamW, Sgd, read_config
from pipelines.errors import RecipeError

GOOD = """
name = "cats"
[data]
format = "class-folders"
[model]
kind = "torchvision_classifier"
name = "resnet18"
size_hw = [96, 96]
[optimizer]
kind = "sgd"
learning_rate = 0.1
[augment]
flip_horizontal = 0.5
crop_hw = [80, 80]
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return read_config(path)


def test_a_config_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(GOOD)
    config = read_config(path)
    assert config.optimizer == Sgd(learning_rate=0.1)
    assert config.augment.crop_hw == (80, 80)
    assert config.loop.epochs == 10


def test_without_an_optimizer_it_is_adamw(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\nmodel = {kind = "lenet5"}')
    assert read_config(path).optimizer == AdamW()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("learning_rate = 0.1", "learning_rate = -1"), r"optimizer\.learning_rate: .*greater than 0 \(got -1\)"),
        (("learning_rate = 0.1", "lr = 0.1"), r"optimizer\.lr: "),
        (('kind = "sgd"', 'kind = "adamm"'), r"optimizer: .*adamm"),
        (("crop_hw = [80, 80]", "crop_hw = [80]"), r"augment\.crop_hw"),
        (("flip_horizontal = 0.5", 'flip_horizontal = "often"'), r"augment\.flip_horizontal: "),
        (('name = "cats"', 'name = "Cats!"'), r"name: "),
        (("[augment]", "[schedule]\nwarmup_epochs = 10\n[augment]"), r"warmup_epochs must be below loop\.epochs 10"),
        (("[augment]", "[loop]\nepoch = 10\n[augment]"), r"loop\.epoch: "),
    ],
)
def test_an_error_names_its_key(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        read(tmp_path, GOOD.replace(*change))
    assert "run.toml" in str(caught.value)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize(("betas", "place"), [("[1.0, 0.999]", 0), ("[0.9, 1.0]", 1)])
def test_a_memory_that_takes_in_nothing_new_is_refused(tmp_path: Path, kind: str, betas: str, place: int) -> None:
    text = GOOD.replace('kind = "sgd"', f'kind = "{kind}"').replace("learning_rate = 0.1", f"betas = {betas}")
    with pytest.raises(RecipeError, match=rf"optimizer\.betas\[{place}\]: .*less than 1 \(got 1\.0\)"):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["name = ", "name = 'a\n"])
def test_what_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="is not TOML"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml cannot be read: No such file"):
        read_config(tmp_path / "none.toml")
