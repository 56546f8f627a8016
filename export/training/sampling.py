"""The order of an epoch's samples, and the layout of their batch."""

from __future__ import annotations

import numpy as np
import torch

from pipelines.types import FloatArray


def shuffled_batches(
    count: int, batch_size: int, rng: np.random.Generator, *, repeats: list[int] | None = None
) -> list[list[int]]:
    """Samples ``0..count-1``, each once or ``repeats[i]`` times, in random order.

    The last batch is smaller where the samples do not divide; of a single sample it is left out beside others, since
    norms over a batch cannot learn from one.
    """
    indices = np.repeat(np.arange(count), repeats if repeats is not None else 1)
    order = rng.permutation(indices).tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 and batch_size > 1 else batches


def planes_last(rows: FloatArray) -> torch.Tensor:
    """Rows ``(N, C, H, W)`` as a tensor whose channels lie side by side, as the weights of the loop's modules do."""
    return torch.from_numpy(rows).contiguous(memory_format=torch.channels_last)
