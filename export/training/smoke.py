"""A user's config and data in a size for trying them out."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from export.data.dataset import Dataset, IdentityTarget, Sample
from export.nets.specs import EmbeddingNet
from export.training.config import TrainConfig

SMOKE_TRAIN, SMOKE_TEST = 64, 32
_LEAST_PEOPLE = 2


def smoke_config(config: TrainConfig) -> TrainConfig:
    """One epoch of a config."""
    changes = {"epochs": 1, "evaluate_every": 1, "checkpoint_every": None, "patience": None}
    schedule = config.schedule.model_copy(update={"warmup_epochs": 0.0})
    return config.model_copy(update={"loop": config.loop.model_copy(update=changes), "schedule": schedule})


def smoke_data(config: TrainConfig, train: Dataset, test: Dataset) -> tuple[Dataset, Dataset]:
    """About 64 images to train on and 32 to be judged by, evenly spread; of identities, whole people."""
    if train.task != "embedding":
        return train.subset(_spread(train, SMOKE_TRAIN)), test.subset(_spread(test, SMOKE_TEST))
    model = config.model
    # The discriminant of so many directions needs more images than directions.
    directions = model.dim if isinstance(model, EmbeddingNet) and model.projection == "discriminant" else 0
    wanted = max(SMOKE_TRAIN, 2 * directions)
    return train.subset(_whole_people(train, wanted)), test.subset(_whole_people(test, SMOKE_TEST))


def _spread(data: Dataset, count: int) -> tuple[Sample, ...]:
    places = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    return tuple(data.samples[i] for i in places.tolist())


def _whole_people(data: Dataset, count: int) -> tuple[Sample, ...]:
    """All images of as many people as show ``count`` images together, at least two; first those shown more than once.

    A single image of each of many people would hold no pair that shows one person.
    """
    of_person: dict[int, list[Sample]] = defaultdict(list)
    for sample in data.samples:
        if isinstance(sample.target, IdentityTarget):
            of_person[sample.target.identity].append(sample)
    chosen: list[Sample] = []
    people = sorted(of_person.values(), key=lambda images: len(images) == 1)  # stable: else in their order.
    for number, images in enumerate(people):
        if number >= _LEAST_PEOPLE and len(chosen) >= count:
            break
        chosen += images
    return tuple(chosen)
