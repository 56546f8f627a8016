"""torchvision's models are trained by their names, on real digits and micrographs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ocella
from export.cli import cache_root
from export.data.published import fetch_published
from export.training.checkpoint import TrainedModel, load_trained
from pipelines.present import encode_png

CONFIG = """
name = "by-name"
model = {kind = "KIND", name = "NAME", size_hw = [SIDE, SIDE]}
optimizer = {kind = "adamw", learning_rate = 0.001}
AUGMENT
[data]
DATA
[loop]
batch_size = BATCH
accelerator = "cpu"
keep = "last"
"""
# Sides of the rows: what could be wrong does not need large ones. Inception's auxiliary head needs its 299.
CLASSIFIERS = {
    "alexnet": 64,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 64,
    "inception_v3": 96,
    "mobilenet_v2": 32,
    "mobilenet_v3_large": 32,
    "resnet18": 32,
    "vgg16": 32,
    "vit_b_16": 32,
}
SEGMENTERS = ("deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large")
DIGITS_EACH = 5
DIGITS = 'test_fraction = 0.2\nformat = "class-folders"'
NUCLEI = 'train = "train"\ntest = "test"\nformat = "masks"'
WINDOWS = "augment = {crop_hw = [64, 64], windows = 16}"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures each of 0, 1 and 2, as folders."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    for label in range(3):
        (root / str(label)).mkdir()
        for i, pixels in enumerate(images[labels == label][:DIGITS_EACH]):
            gray = np.rint(pixels.reshape(8, 8, 1) * (255 / 16)).astype(np.uint8)
            (root / str(label) / f"{i}.png").write_bytes(encode_png(np.repeat(gray, 3, axis=2)))
    return root


def train(tmp_path: Path, data: Path, **words: str) -> int:
    """Run ``ocella train --smoke`` with the config, in which each word is replaced; its exit code."""
    text = CONFIG
    for word, value in ({"AUGMENT": "", "BATCH": "8", "DATA": DIGITS} | words).items():
        text = text.replace(word, value)
    (tmp_path / "run.toml").write_text(text)
    paths = ["--data", str(data), "--out", str(tmp_path / "run")]
    return ocella.main(["train", str(tmp_path / "run.toml"), "--smoke", *paths])


def outcome(tmp_path: Path) -> tuple[TrainedModel, Mapping[str, Any]]:
    """The model that the run left, and its numbers."""
    return load_trained(tmp_path / "run"), json.loads((tmp_path / "run" / "metrics.jsonl").read_text())


def assert_classifies(tmp_path: Path, digits: Path, name: str, side: int) -> tuple[TrainedModel, Mapping[str, Any]]:
    assert train(tmp_path, digits, KIND="torchvision_classifier", NAME=name, SIDE=str(side)) == 0
    trained, numbers = outcome(tmp_path)
    assert (trained.labels, trained.num_classes) == (("0", "1", "2"), 3)
    assert math.isfinite(numbers["loss"])
    assert 0 <= numbers["top1"] <= 1
    with torch.no_grad():
        assert trained.module(torch.rand(2, 3, side, side)).shape == (2, 3)
    return trained, numbers


def assert_segments(tmp_path: Path, name: str) -> None:
    nuclei = fetch_published("nuclei", cache_root(None).parent / "data", report=lambda _: None)
    words = {"KIND": "torchvision_segmenter", "NAME": name, "SIDE": "64", "DATA": NUCLEI, "AUGMENT": WINDOWS}
    assert train(tmp_path, nuclei, **words) == 0
    trained, numbers = outcome(tmp_path)
    assert trained.labels == ("background", "foreground")
    assert math.isfinite(numbers["loss"])
    assert numbers["miou"] > 0


def test_a_small_classifier_is_trained_by_its_name(tmp_path: Path, digits: Path) -> None:
    assert_classifies(tmp_path, digits, "mobilenet_v3_small", 32)


def test_a_batch_that_is_too_small_for_the_norms_is_refused(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"KIND": "torchvision_classifier", "NAME": "mobilenet_v3_small", "SIDE": "32", "BATCH": "1"}
    assert train(tmp_path, digits, **words) == 1
    assert "loop.batch_size must be 2 or more for this model" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_trained_by_its_name(tmp_path: Path, digits: Path, name: str) -> None:
    assert_classifies(tmp_path, digits, name, CLASSIFIERS[name])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("googlenet", 64), ("inception_v3", 299)])
def test_auxiliary_heads_teach_and_stay_out_of_the_package(tmp_path: Path, digits: Path, name: str, side: int) -> None:
    trained, numbers = assert_classifies(tmp_path, digits, name, side)
    assert numbers["loss/main"] < numbers["loss"]
    weights = trained.module.state_dict()
    auxiliary = sum(value.numel() for key, value in weights.items() if key.lower().startswith("net.aux"))
    package = tmp_path / "package"
    assert ocella.main(["export", str(tmp_path / "run"), "--max-batch", "2", "--out", str(package)]) == 0
    values = (package / "model.onnx").stat().st_size / 4  # float32
    assert auxiliary > 1_000_000
    assert values < sum(value.numel() for value in weights.values()) - 0.9 * auxiliary


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_is_trained_by_its_name(tmp_path: Path, name: str) -> None:
    assert_segments(tmp_path, name)
