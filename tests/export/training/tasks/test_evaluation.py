"""Judging held-out images: one at a time in memory, however many there are."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from export.data.detect_format import read_dataset
from export.nets import build_model
from export.nets.specs import GridDetector, LeNet5, ModelSpec, UNet
from export.training.pixels import ImageReader
from export.training.run import TrainingData, make_task
from pipelines.image import decode_image
from tests.export.training.runs import config, loop, write_digit_like, write_yolo_squares
from tests.export.training.test_cli_tasks import write_disks

GRID = GridDetector(width=4, strides=(8,), anchors=(((8, 8), (20, 20)),), size_hw=(64, 64))


@pytest.mark.parametrize(
    ("spec", "write", "task"),
    [
        (LeNet5(), write_digit_like, "classification"),
        (GRID, write_yolo_squares, "detection"),
        (UNet(width=4, levels=2), write_disks, "segmentation"),
    ],
    ids=["classification", "detection", "segmentation"],
)
def test_held_out_images_are_not_all_held_in_memory(
    spec: ModelSpec, write: Any, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read_dataset(write(tmp_path))
    plan = config(model=spec, loop=loop(batch_size=1))
    architecture = build_model(spec, num_classes=len(data.labels))
    judged = make_task(architecture, TrainingData(train=data, test=data, split="all", samples={}), plan)
    assert data.task == task
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Held:
        """Of weak references a set would compare arrays; it compares these."""

    def read(_: ImageReader, path: Path) -> Any:
        nonlocal most
        image = decode_image(path.read_bytes(), exif="apply", alpha="white").copy()
        held = Held()
        weakref.finalize(image, setattr, held, "image", None)
        alive.add(held)
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(ImageReader, "read", read)
    judged.evaluate(architecture.module.eval())
    assert 1 <= most <= 3 < len(data)
