"""What the loop asks of a task: it knows epochs, steps and files, and nothing of images, losses or metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pipelines.types import ByteArray


class Task(Protocol):
    """One data set, its losses and its metrics.

    Whatever is random comes from the generator that is handed in, so that a resumed run meets the same samples.

    Attributes:
        main_metric: which of the metrics says what is best; higher is better.
    """

    main_metric: str

    def batches(self, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        """The training samples of one epoch, by index, batch by batch."""
        ...

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """One training sample, augmented, its row made by ``pipelines``; may run in a worker process."""
        ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """Join samples to a batch: tensors in tuples, lists and dicts, so that it can be moved to a device."""
        ...

    def loss(self, module: nn.Module, batch: Any) -> Mapping[str, torch.Tensor]:
        """Scalars by name; ``loss`` is what is minimised, the others are its parts."""
        ...

    def evaluate(self, module: nn.Module) -> Mapping[str, float]:
        """The field's metrics on the held-out images, each answered through ``pipelines``. ``module`` is in eval mode.

        No gradients are recorded while it runs.
        """
        ...

    def pictures(self, module: nn.Module) -> Mapping[str, ByteArray]:
        """Sample predictions by file name without ending, ``(H, W, 3)`` uint8 RGB. As for ``evaluate``."""
        ...
