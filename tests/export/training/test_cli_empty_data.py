"""``ocella train`` on data that are whole and teach or tell nothing: one line, and no model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ocella
from export.data.dataset import IGNORED
from pipelines.present import encode_png
from tests.export.training.runs import write_digit_like, write_yolo_squares
from tests.export.training.test_cli import CLASSIFY, DETECT, config
from tests.export.training.test_cli_tasks import OURS, SEGMENT, write_disks


def one_class(root: Path) -> None:
    shutil.rmtree(write_digit_like(root) / "down")


def no_object_to_learn(root: Path) -> None:
    for text in (write_yolo_squares(root / "train") / "labels").iterdir():
        text.write_text("")
    write_yolo_squares(root / "test")


def no_object_to_find(root: Path) -> None:
    for text in (write_yolo_squares(root / "test") / "labels").iterdir():
        text.write_text("")
    write_yolo_squares(root / "train")


def no_pixel_that_counts(root: Path) -> None:
    write_disks(root / "train")
    for mask in (write_disks(root / "test") / "masks").iterdir():
        mask.write_bytes(encode_png(np.full((40, 50), IGNORED, np.uint8)))
    for split in ("train", "test"):
        (root / split / "labels.txt").write_text("background\ndisk\n")


def split(text: str) -> str:
    """The config with a test part of its own; anchors are given, since none can be found where there is no box."""
    return text.replace("[data]", '[data]\ntrain = "train"\ntest = "test"').replace(
        "anchors_per_scale = 2", "anchors = [[[8, 8], [20, 20]]]"
    )


@pytest.mark.parametrize(
    ("write", "text", "problem"),
    [
        (one_class, CLASSIFY, "there must be at least 2 classes to tell apart, got across"),
        (no_object_to_learn, split(DETECT), "train must show at least one object, 6 images show none"),
        (no_object_to_find, split(DETECT), "the held-out images must show at least one object, 6 images show none"),
        (
            no_pixel_that_counts,
            split(SEGMENT.replace("MODEL", OURS).replace("EPOCHS", "1")),
            "the held-out images must show what miou measures, they show none of it",
        ),
    ],
)
def test_data_that_tell_nothing_are_refused(
    write: Callable[[Path], None], text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "data")
    words = ["train", config(tmp_path, text), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert ocella.main(words) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "model.pt").exists()
