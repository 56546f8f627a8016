"""Holding images out where a data set does not say which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from export.data.dataset import ClassTarget, Dataset, IdentityTarget, Sample, Target, Task
from export.training.splitting import hold_out
from pipelines.errors import RecipeError


def data(targets: Sequence[Target], task: Task, *, labels: tuple[str, ...] = ("a", "b", "c", "d")) -> Dataset:
    samples = tuple(Sample(Path(f"{i}.png"), target, (8, 8)) for i, target in enumerate(targets))
    return Dataset(format="folders", root=Path(), task=task, labels=labels, samples=samples)


def test_of_each_class_the_same_share_is_held_out() -> None:
    whole = data([ClassTarget(i % 2) for i in range(40)], "classification")
    train, test = hold_out(whole, 0.25, seed=3)
    assert Counter(sample.target for sample in test.samples) == {ClassTarget(0): 5, ClassTarget(1): 5}
    assert {*train.samples} | {*test.samples} == {*whole.samples}
    assert not {*train.samples} & {*test.samples}


def test_the_split_follows_from_the_seed() -> None:
    whole = data([ClassTarget(0)] * 30, "classification")
    assert hold_out(whole, 0.5, seed=1)[1].samples == hold_out(whole, 0.5, seed=1)[1].samples
    assert hold_out(whole, 0.5, seed=1)[1].samples != hold_out(whole, 0.5, seed=2)[1].samples


def test_people_are_held_out_whole() -> None:
    train, test = hold_out(data([IdentityTarget(i % 4) for i in range(20)], "embedding"), 0.25, seed=0)
    assert not {sample.target for sample in train.samples} & {sample.target for sample in test.samples}
    assert len({sample.target for sample in test.samples}) == 2


@pytest.mark.parametrize("people", [3, 4, 7])
def test_two_people_are_held_out_however_few_there_are(people: int) -> None:
    labels = tuple(f"p{i}" for i in range(people))
    few = data([IdentityTarget(i % people) for i in range(4 * people)], "embedding", labels=labels)
    assert len({sample.target for sample in hold_out(few, 0.2, seed=0)[1].samples}) == 2


def test_a_class_of_one_image_cannot_be_split() -> None:
    whole = data([ClassTarget(0)] * 5 + [ClassTarget(2)], "classification")
    with pytest.raises(RecipeError, match="class 'c' must have at least 2 images to hold one out, it has 1"):
        hold_out(whole, 0.2, seed=0)
