"""From indices to batches on the device, each sample with random numbers of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from export.training.task import Task

Place: TypeAlias = tuple[int, int]
"""Where a sample stands in its epoch, and its index in the task."""


class _Samples(Dataset[Any]):
    """The task's samples by place; random numbers follow from seed, epoch and place, in whatever process this runs."""

    def __init__(self, task: Task, seed: int, epoch: int) -> None:
        self._task, self._seed, self._epoch = task, seed, epoch

    def __getitem__(self, place: Place) -> Any:
        position, index = place
        return self._task.sample(index, np.random.default_rng((self._seed, self._epoch, position)))


def epoch_places(task: Task, *, seed: int, epoch: int, rank: int, world_size: int) -> list[list[Place]]:
    """The batches of one epoch for one of ``world_size`` devices; each gets as many, so that none waits for ever."""
    batches, position = [], 0
    for batch in task.batches(np.random.default_rng((seed, epoch))):
        batches.append([(position + i, index) for i, index in enumerate(batch)])
        position += len(batch)
    return batches[rank : len(batches) // world_size * world_size : world_size]


def load_batches(
    task: Task, places: Sequence[list[Place]], *, seed: int, epoch: int, workers: int, pin_memory: bool
) -> Iterable[Any]:
    """The batches of ``places``, collated on the CPU, in order."""
    return DataLoader(
        _Samples(task, seed, epoch),
        batch_sampler=places,
        collate_fn=task.collate,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # of its own: it must not move torch's global one.
    )
