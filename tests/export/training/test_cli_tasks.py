"""``ocella train`` of embeddings and masks: a user's folders, end to end."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import ocella
from export.training.checkpoint import load_trained
from pipelines.present import encode_png

EMBED = """
name = "colors"
model = {kind = "embedding_net", size_hw = [16, 16], width = 4, stages = 2, dim = 8, head = "HEAD"}
loss = {kind = "LOSS", images_each = 2}
[data]
format = "identity-folders"
test_fraction = 0.4
[loop]
epochs = 1
batch_size = 6
accelerator = "cpu"
keep = "last"
"""
SEGMENT = """
name = "disks"
MODEL
augment = {crop_hw = [32, 32], flip_horizontal = 0.5}
optimizer = {kind = "adamw", learning_rate = 0.02}
[data]
format = "masks"
test_fraction = 0.34
[loop]
epochs = EPOCHS
batch_size = 4
accelerator = "cpu"
keep = "last"
"""
OURS = 'model = {kind = "unet", width = 4, levels = 2}'


def write_people(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for person in range(5):
        (root / f"p{person}").mkdir(parents=True)
        color = rng.integers(40, 215, 3)
        for i in range(4):
            image = np.clip(color + rng.normal(scale=12, size=(20, 18, 3)), 0, 255).astype(np.uint8)
            (root / f"p{person}" / f"{i}.png").write_bytes(encode_png(image))
    return root


def write_disks(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(6):
        mask = np.zeros((40, 50), np.uint8)
        cv2.circle(mask, (int(rng.integers(12, 38)), int(rng.integers(12, 28))), 9, 1, -1)
        image = rng.integers(0, 60, (40, 50, 3), dtype=np.uint8)
        image[mask == 1] += 150
        (root / "images" / f"{i}.png").write_bytes(encode_png(image))
        (root / "masks" / f"{i}.png").write_bytes(encode_png(mask))
    return root


def train(tmp_path: Path, text: str, data: Path) -> int:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return ocella.main(["train", str(path), "--data", str(data), "--out", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("loss", "head"), [("triplet", "none"), ("info_nce", "none"), ("arcface", "classes"), ("same_different", "pairs")]
)
def test_an_embedder_is_judged_by_people_never_seen(tmp_path: Path, loss: str, head: str) -> None:
    text = EMBED.replace("LOSS", loss).replace("HEAD", head)
    assert train(tmp_path, text, write_people(tmp_path / "data")) == 0
    trained = load_trained(tmp_path / "run")
    assert (trained.labels, trained.num_classes) == ((), 5)
    assert trained.metrics.keys() >= {"auc", "eer"}
    assert sorted(path.stem for path in (tmp_path / "run" / "pictures").iterdir()) == ["pairs", "roc", "scores"]


def test_a_loss_that_needs_a_head_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = EMBED.replace("LOSS", "arcface").replace("HEAD", "none")
    assert train(tmp_path, text, write_people(tmp_path / "data")) == 1
    assert "model.head must be 'classes' for the loss arcface" in capsys.readouterr().err


def test_a_loss_of_another_task_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = EMBED.replace('{kind = "LOSS", images_each = 2}', '{kind = "focal"}').replace("HEAD", "none")
    assert train(tmp_path, text, write_people(tmp_path / "data")) == 1
    assert "loss.kind must be one of embedding, got focal" in capsys.readouterr().err


def test_a_segmenter_learns_a_users_masks(tmp_path: Path) -> None:
    text = SEGMENT.replace("MODEL", OURS).replace("EPOCHS", "8")
    assert train(tmp_path, text, write_disks(tmp_path / "data")) == 0
    trained = load_trained(tmp_path / "run")
    assert trained.labels == ("background", "foreground")
    assert trained.metrics["foreground_iou"].value > 0.8
