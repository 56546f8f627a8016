"""Where a run's data come from: a published set that is fetched, or a user's own folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from export.data.collect import ReadOptions
from export.data.dataset import Dataset, MaskTarget, Sample
from export.data.detect_format import read_dataset
from export.data.published import fetch_published
from export.data.summary import summary
from export.training.config import DataSpec, TrainConfig
from export.training.recipes import Recipe
from export.training.run import TrainingData
from export.training.splitting import hold_out
from pipelines.image import decode_image
from pipelines.present import encode_png

Report = Callable[[str], None]
SMOKE_TRAIN, SMOKE_TEST = 64, 32
_SAMPLES, _SAMPLE_SIDE = 2, 640


def recipe_data(recipe: Recipe, root: Path, *, smoke: bool, report: Report) -> TrainingData:
    """Fetch the data of a recipe into ``root`` (a set that is there undamaged is used as it is) and read them."""
    folder = fetch_published(recipe.dataset, root, report=report)
    train, test = _read(recipe.config.data, folder, report)
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
    train, test = _read(config.data, root, report, seed=config.seed)
    split = f"{config.data.test} ({len(test)} images)" if config.data.test else _drawn(config, train, test)
    if smoke:
        train, test = train.subset(_spread(train, SMOKE_TRAIN)), test.subset(_spread(test, SMOKE_TEST))
    return TrainingData(train=train, test=test, split=split, samples=_golden_samples(test))


def smoke_config(config: TrainConfig) -> TrainConfig:
    """One epoch of a config."""
    changes = {"epochs": 1, "evaluate_every": 1, "checkpoint_every": None, "patience": None}
    schedule = config.schedule.model_copy(update={"warmup_epochs": 0.0})
    return config.model_copy(update={"loop": config.loop.model_copy(update=changes), "schedule": schedule})


def _read(spec: DataSpec, root: Path, report: Report, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    options = ReadOptions(on_error=spec.on_error)
    train = read_dataset(root / spec.train, format_=spec.format, options=options)
    for line in summary(train):
        report(line)
    if spec.test is None:
        return hold_out(train, spec.test_fraction, seed=seed)
    # The classes of training, so that both count them alike; people held out are others than those trained on.
    labels = None if train.task == "embedding" else train.labels
    first = train.samples[0].target
    values = first.values if isinstance(first, MaskTarget) else None
    same = ReadOptions(on_error=spec.on_error, labels=labels, mask_values=values)
    test = read_dataset(root / spec.test, format_=spec.format, options=same)
    for line in summary(test):
        report(line)
    return train, test


def _drawn(config: TrainConfig, train: Dataset, test: Dataset) -> str:
    total = len(train) + len(test)
    return f"{len(test)} of {total} images, held out by seed {config.seed}"


def _spread(data: Dataset, count: int) -> tuple[Sample, ...]:
    places = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    return tuple(data.samples[i] for i in places.tolist())


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
