"""What a job works on, whoever computes it: this process, a server or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from pipelines.options import PredictOptions
from serving.batch.draw import Overlays
from serving.batch.journal import Journal
from serving.batch.outcome import Row
from serving.batch.shard import Shard
from serving.batch.sources import Sources
from serving.batch.total import Total

Consume: TypeAlias = Callable[[Sequence[Row]], None]


@dataclass(frozen=True, kw_only=True)
class Work:
    """The images of a job and what is kept of them.

    Attributes:
        sources: where the images come from.
        shard: the part that is taken of them.
        options: of every prediction.
        journal: what is computed already, and what is computed now.
        overlays: where each result is drawn; ``None``: nowhere.
        private: the job's own folder, for files that nobody else looks at.
        total: how many rows there will be.
    """

    sources: Sources
    shard: Shard
    options: PredictOptions
    journal: Journal
    overlays: Overlays | None
    private: Path
    total: Total


class Running(Protocol):
    """One run of a job.

    Attributes:
        computed: contents that the model answered or failed on.
    """

    computed: int

    async def run(self, consume: Consume) -> None:
        """Hand every row to ``consume``, in order, a few at a time, on a thread, after its commit.

        Raises JobError, and whatever ``consume`` raises; what was committed by then is kept.
        """
        ...
