"""A user's data in a size for trying them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from export.data.dataset import ClassTarget, Dataset, IdentityTarget, Sample, Target, Task
from export.nets.specs import EmbeddingNet
from export.training.config import TrainConfig
from export.training.smoke import smoke_data
from tests.export.training.runs import config


def data(targets: Sequence[Target], task: Task) -> Dataset:
    samples = tuple(Sample(Path(f"{i}.png"), target, (8, 8)) for i, target in enumerate(targets))
    return Dataset(format="folders", root=Path(), task=task, labels=("a",), samples=samples)


def people_of(chosen: Dataset) -> dict[Target, int]:
    return dict(Counter(sample.target for sample in chosen.samples))


def of_people(people: int, *, images_each: int) -> Dataset:
    return data([IdentityTarget(i // images_each) for i in range(people * images_each)], "embedding")


def embedder(**over: Any) -> TrainConfig:
    return config(model=EmbeddingNet(**over))


@pytest.mark.parametrize("images_each", [2, 5, 100])
def test_people_are_tried_out_whole_and_at_least_two(images_each: int) -> None:
    many = of_people(300, images_each=images_each)
    train, test = smoke_data(embedder(), many, many)
    for chosen, count in ((train, 64), (test, 32)):
        assert set(people_of(chosen).values()) == {images_each}
        assert len(people_of(chosen)) == max(2, -(-count // images_each))


def test_people_who_are_shown_once_come_last() -> None:
    mixed = data([IdentityTarget(i) for i in range(90)] + [IdentityTarget(90 + i // 2) for i in range(40)], "embedding")
    assert max(people_of(smoke_data(embedder(), mixed, mixed)[1]).values()) == 2


def test_a_discriminant_gets_more_images_than_directions() -> None:
    many = of_people(100, images_each=5)
    train, _ = smoke_data(embedder(projection="discriminant", dim=128), many, many)
    assert len(train) >= 256


def test_images_of_classes_are_evenly_spread() -> None:
    many = data([ClassTarget(i // 100) for i in range(400)], "classification")
    train, test = smoke_data(config(), many, many)
    assert (len(train), len(test)) == (64, 32)
    assert set(people_of(test).values()) == {8}
