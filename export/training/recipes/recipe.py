"""What a training recipe is: a config, a published data set, and a size for trying it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from export.data.dataset import Dataset
from export.training.config import TrainConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """A model that ``ocella train NAME`` makes.

    Attributes:
        config: the whole run; its name is the recipe's, and its data lie in ``train`` and ``test`` of the fetched set.
        dataset: name of the published data set.
        split: one line that says what was held out.
        smoke: the same run in seconds, on a part of the training data.
        smoke_train: picks that part.
        samples: encoded PNG images for golden results, by name, from the held-out data.
        weights: fetches published weights to start from into a folder, telling of its progress, and returns their file
            (names as the model's own); ``None``: from nothing.
    """

    config: TrainConfig
    dataset: str
    split: str
    smoke: TrainConfig
    smoke_train: Callable[[Dataset], Dataset]
    samples: Callable[[Dataset], Mapping[str, bytes]]
    weights: Callable[[Path, Callable[[str], None]], Path] | None = None

    @property
    def name(self) -> str:
        """Of the recipe and its model."""
        return self.config.name
