"""Batches of a segmenter: which pixels teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.data.dataset import IGNORED
from export.data.detect_format import read_dataset
from export.nets import build_model
from export.nets.specs import UNet
from export.training.augment import Augment
from export.training.losses import NOT_COUNTED
from export.training.tasks.segment import SegmentationTask
from tests import datasets


def test_pixels_of_no_class_and_padding_are_not_counted(tmp_path: Path) -> None:
    mask = datasets.square()
    mask[:5] = IGNORED
    root = datasets.masks(tmp_path, {"a": mask}, labels=["background", "square"])
    data = read_dataset(root)
    built = build_model(UNet(width=4, levels=2), num_classes=2)
    task = SegmentationTask(built, data, data, loss=None, augmentation=Augment(), batch_size=2)
    row, row_mask = task.sample(0, np.random.default_rng(0))
    _, targets = task.collate([(row, row_mask), (row[:, :8], row_mask[:8])])
    assert set(np.unique(targets)) == {0, 1, NOT_COUNTED}
    np.testing.assert_array_equal(targets[0] == NOT_COUNTED, row_mask == IGNORED)
    assert (targets[1, 8:] == NOT_COUNTED).all()
