"""Holding images out where a data set does not say which."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from export.data.dataset import ClassTarget, Dataset, IdentityTarget, Sample
from pipelines.errors import RecipeError


def hold_out(data: Dataset, fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Split into training and held-out images at random, the same for the same seed.

    Of each class so many are held out, at least one; people are held out whole, at least two, since verification is
    about people who were never seen, and tells two apart; boxes and masks are split by image.

    Raises:
        RecipeError: a side would be empty, or a class has a single image.
    """
    rng = np.random.default_rng(seed)
    if data.task == "embedding":
        people = rng.permutation(sorted({_group(sample) for sample in data.samples}))
        # One person alone makes no pair of two people, and no rate of false accepts.
        unseen = set(people[: max(2, round(fraction * len(people)))].tolist())
        held = [i for i, sample in enumerate(data.samples) if _group(sample) in unseen]
    else:
        groups: dict[int, list[int]] = defaultdict(list)
        for i, sample in enumerate(data.samples):
            groups[_group(sample)].append(i)
        held = []
        for label, members in sorted(groups.items()):
            count = max(1, round(fraction * len(members)))
            if count >= len(members):
                what = f"class {data.labels[label]!r}" if data.task == "classification" else "the data set"
                raise RecipeError(f"{what} must have at least 2 images to hold one out, it has {len(members)}")
            held += rng.permutation(members)[:count].tolist()
    chosen = set(held)
    train = tuple(sample for i, sample in enumerate(data.samples) if i not in chosen)
    test = tuple(sample for i, sample in enumerate(data.samples) if i in chosen)
    if not train or not test:
        raise RecipeError(f"there must be images to train on and to hold out, got {len(train)} and {len(test)}")
    return data.subset(train), data.subset(test)


def _group(sample: Sample) -> int:
    match sample.target:
        case ClassTarget(class_id=index) | IdentityTarget(identity=index):
            return index
    return 0
