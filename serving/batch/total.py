"""How many rows a job will have, counted on a thread beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Self

from pipelines.errors import OcellaError
from serving.batch.entry import Entry
from serving.batch.shard import Shard


class Total:
    """A context manager: leaving it ends the count.

    Attributes:
        rows: the number; ``None`` until it is known, and for ever where the sources cannot be walked, or only by doing
            what the job does once more: decoding a video, decompressing a tar.
    """

    def __init__(self, sources: Iterable[Entry], shard: Shard) -> None:
        self.rows: int | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._count, args=(sources, shard), name="total", daemon=True)
        self._thread.start()

    def _count(self, sources: Iterable[Entry], shard: Shard) -> None:
        rows = 0
        try:
            for entry in sources:
                if self._stopped or entry.in_turn:
                    return
                rows += shard.takes(entry.name)
        except (OSError, OcellaError):  # the job itself comes there, and says so
            return
        self.rows = rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join()
