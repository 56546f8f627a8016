"""Detectors of torchvision learn tree crowns from real photos, by name: their losses stay finite and fall."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import ocella
from export.cli import cache_root
from export.data.published import fetch_published

# Small windows and rows: what could be wrong with losses, anchors or targets does not need large ones.
CONFIG = """
name = "crowns"
model = {kind = "torchvision_detector", name = "NAME", size_hw = [128, 128]}
augment = {crop_hw = [128, 128], windows = 8, flip_horizontal = 0.5}
optimizer = {kind = "adamw", learning_rate = 0.0003}
[data]
format = "voc"
train = "train"
test = "test"
[loop]
epochs = 4
batch_size = 4
clip_norm = 10.0
evaluate_every = 4
accelerator = "cpu"
keep = "last"
"""
NAMES = (
    "fasterrcnn_resnet50_fpn",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_losses_of_a_detector_fall_on_real_photos(tmp_path: Path, name: str) -> None:
    data = fetch_published("trees", cache_root(None).parent / "data", report=lambda _: None)
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.replace("NAME", name))
    assert ocella.main(["train", str(config), "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = {key: [row[key] for row in rows] for key in rows[0] if key.startswith("loss")}
    assert len(losses) >= 3  # their sum, and at least of boxes and classes
    assert all(math.isfinite(value) for values in losses.values() for value in values)
    assert losses["loss"][-1] < losses["loss"][0]
