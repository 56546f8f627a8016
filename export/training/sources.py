"""Where a run's data come from: a published set that is fetched, or a user's own folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from export.data.collect import ReadOptions
from export.data.dataset import Dataset, MaskTarget, Task
from export.data.detect_format import read_dataset
from export.data.published import fetch_published
from export.data.summary import summary
from export.training.config import TrainConfig
from export.training.damaged import without_damaged
from export.training.recipes import Recipe
from export.training.run import TrainingData
from export.training.smoke import smoke_data
from export.training.splitting import hold_out
from pipelines.image import decode_image
from pipelines.present import encode_png

Report = Callable[[str], None]
TASK_OF_MODEL: Mapping[str, Task] = {
    "embedding_net": "embedding",
    "grid_detector": "detection",
    "lenet5": "classification",
    "torchvision_classifier": "classification",
    "torchvision_detector": "detection",
    "torchvision_segmenter": "segmentation",
    "unet": "segmentation",
}
_SAMPLES, _SAMPLE_SIDE = 2, 640


def recipe_data(recipe: Recipe, root: Path, *, smoke: bool, report: Report) -> TrainingData:
    """Fetch the data of a recipe into ``root`` (a set that is there undamaged is used as it is) and read them."""
    folder = fetch_published(recipe.dataset, root, report=report)
    train, test = _read(recipe.config, folder, report)
    return TrainingData(
        train=recipe.smoke_train(train) if smoke else train,
        test=test,
        split=recipe.split,
        samples=recipe.samples(test),
    )


def recipe_config(recipe: Recipe, root: Path, *, smoke: bool, report: Report) -> TrainConfig:
    """The recipe's config, with the published weights that it starts from fetched into ``root`` where it has any."""
    config = recipe.smoke if smoke else recipe.config
    if recipe.weights is None:
        return config
    return config.model_copy(update={"weights": str(recipe.weights(root, report))})


def config_data(config: TrainConfig, root: Path, *, smoke: bool, report: Report) -> TrainingData:
    """Read a user's data as the config says; the held-out images are its ``test``, or drawn by the seed."""
    train, test = _read(config, root, report)
    split = f"{config.data.test} ({len(test)} images)" if config.data.test else _drawn(config, train, test)
    if smoke:
        train, test = smoke_data(config, train, test)
    return TrainingData(train=train, test=test, split=split, samples=_golden_samples(test))


def _read(config: TrainConfig, root: Path, report: Report) -> tuple[Dataset, Dataset]:
    spec = config.data
    train = _read_one(config, root / spec.train, ReadOptions(on_error=spec.on_error), report)
    if spec.test is None:
        return hold_out(train, spec.test_fraction, seed=config.seed)
    # The classes of training, so that both count them alike; people held out are others than those trained on.
    labels = None if train.task == "embedding" else train.labels
    first = train.samples[0].target
    values = first.values if isinstance(first, MaskTarget) else None
    same = ReadOptions(on_error=spec.on_error, labels=labels, mask_values=values)
    return train, _read_one(config, root / spec.test, same, report)


def _read_one(config: TrainConfig, path: Path, options: ReadOptions, report: Report) -> Dataset:
    data = read_dataset(path, format_=config.data.format, task=TASK_OF_MODEL[config.model.kind], options=options)
    if options.on_error == "skip":
        data = without_damaged(data)
    for line in summary(data):
        report(line)
    return data


def _drawn(config: TrainConfig, train: Dataset, test: Dataset) -> str:
    total = len(train) + len(test)
    return f"{len(test)} of {total} images, held out by seed {config.seed}"


def _golden_samples(test: Dataset) -> Mapping[str, bytes]:
    """Up to two held-out images, scaled down where they are large: enough for a replay, and small in a package."""
    found = {}
    for i, sample in enumerate(test.samples[:_SAMPLES]):
        image = decode_image(sample.path.read_bytes(), exif="apply", alpha="white")
        factor = _SAMPLE_SIDE / max(image.shape[:2])
        if factor < 1:
            size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        found[f"sample-{i}"] = encode_png(image)
    return found
