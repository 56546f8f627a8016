"""Tiny runs: data on the disk, configs, and a task whose module has dropout and norms."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from export.training.config import LoopSpec, Sgd, TrainConfig
from pipelines.present import encode_png
from pipelines.types import ByteArray


def config(**over: Any) -> TrainConfig:
    fields: dict[str, Any] = {
        "name": "tiny",
        "model": {"kind": "lenet5"},
        "optimizer": Sgd(learning_rate=0.05),
        "loop": loop(),
    }
    return TrainConfig(**(fields | over))


def loop(**over: Any) -> LoopSpec:
    fields: dict[str, Any] = {"epochs": 3, "batch_size": 4, "accelerator": "cpu"}
    return LoopSpec(**(fields | over))


class Silent:
    """Progress that keeps what it is told, and may stop a run at a step."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.lines: list[str] = []
        self._stop_at = stop_at

    def line(self, text: str) -> None:
        self.lines.append(text)

    def step(self, done: int, total: int, text: str) -> None:
        if done == self._stop_at:
            raise InterruptedError


class PointsTask:
    """Points of a plane, jittered; which side of a line each is on."""

    main_metric = "accuracy"

    def __init__(self, scores: Sequence[float] = ()) -> None:
        """``scores``: what the evaluations are to answer, one after the other; empty: the accuracy."""
        self._points = np.random.default_rng(0).normal(size=(18, 2)).astype(np.float32)
        self._scores = list(scores)

    def module(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))

    def batches(self, rng: np.random.Generator) -> list[list[int]]:
        order = rng.permutation(len(self._points)).tolist()
        return [order[i : i + 4] for i in range(0, 16, 4)]

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Any, int]:
        point = self._points[index]
        return point + rng.normal(scale=0.1, size=2).astype(np.float32), int(point.sum() > 0)

    def collate(self, samples: Sequence[tuple[Any, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        points, sides = zip(*samples, strict=True)
        return torch.from_numpy(np.stack(points)), torch.tensor(sides)

    def loss(self, module: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        loss = nn.functional.cross_entropy(module(batch[0]), batch[1])
        return {"loss": loss, "half": loss / 2}

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        if self._scores:
            return {"accuracy": self._scores.pop(0)}
        points = torch.from_numpy(self._points).to(next(module.parameters()).device)
        right = module(points).argmax(1) == (points.sum(1) > 0)
        return {"accuracy": float(right.float().mean())}

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        return {"predictions": np.zeros((4, 6, 3), np.uint8)}


def write_digit_like(root: Path, *, per_class: int = 6) -> Path:
    """Folders by class: bright images with a horizontal or a vertical bar."""
    rng = np.random.default_rng(1)
    for label, axis in (("across", 0), ("down", 1)):
        (root / label).mkdir(parents=True)
        for i in range(per_class):
            image = rng.integers(0, 60, (20, 24, 3), dtype=np.uint8)
            place = int(rng.integers(6, 14))
            image[(slice(place, place + 4), slice(None)) if axis == 0 else (slice(None), slice(place, place + 4))] = 230
            (root / label / f"{i}.png").write_bytes(encode_png(image))
    return root


def write_yolo_squares(root: Path, *, count: int = 6) -> Path:
    """Images of 64 x 80 with one or two bright rectangles each, in YOLO's layout, two classes by colour."""
    rng = np.random.default_rng(2)
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for i in range(count):
        image = rng.integers(0, 50, (64, 80, 3), dtype=np.uint8)
        lines = []
        for class_id in range(1 + i % 2):
            w, h = rng.integers(14, 26, 2).tolist()
            x, y = int(rng.integers(0, 80 - w)), int(rng.integers(0, 64 - h))
            cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), ((240, 60, 60), (60, 240, 60))[class_id], -1)
            lines.append(f"{class_id} {(x + w / 2) / 80} {(y + h / 2) / 64} {w / 80} {h / 64}")
        (root / "images" / f"{i}.png").write_bytes(encode_png(image))
        (root / "labels" / f"{i}.txt").write_text("\n".join(lines))
    (root / "classes.txt").write_text("red\ngreen\n")
    return root


def damage_pixels(path: Path) -> Path:
    """Spoil the compressed pixels of a PNG; its header, and the lengths and sums of its chunks are whole."""
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    data[start : start + length] = bytes(length)
    data[start + length : start + length + 4] = zlib.crc32(data[start - 4 : start + length]).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    return path
