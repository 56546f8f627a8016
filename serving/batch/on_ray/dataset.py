"""The two ends of the dataset: a task that yields chunks of entries, and an actor that maps them. Needs Ray."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from pipelines.errors import OcellaError
from serving.batch.errors import JobError
from serving.batch.on_ray.chunks import chunks
from serving.batch.on_ray.ledger import Claims, Standing
from serving.batch.on_ray.worker import Duty, Worker
from serving.batch.shard import Shard
from serving.batch.sources import Sources


class RemoteClaims:
    """The ledger in an actor of its own, see ``Claims``."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def known(self, entries: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """See ``Claims``."""
        found: list[str] = ray.get(self._ledger.known.remote(entries))
        return found

    def claim(self, contents: Sequence[tuple[str, int]]) -> list[Standing]:
        """See ``Claims``."""
        standings: list[Standing] = ray.get(self._ledger.claim.remote(contents))
        return standings


class Chunks(Datasource):  # type: ignore[misc]  # Ray's types are not looked at
    """One task that walks the sources: entries have their places by one walk, as in a job without a cluster."""

    def __init__(self, sources: Sources, shard: Shard, claims: Claims, here: Path) -> None:
        """``here``: see ``Duty``."""
        super().__init__()
        self._sources, self._shard, self._claims, self._here = sources, shard, claims, here

    def estimate_inmemory_data_size(self) -> int | None:
        """Nobody knows before the walk."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """The task; its rows are chunks, or the error that ended the walk."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(_walk(self._sources, self._shard, self._claims, self._here), unknown)]


def _walk(sources: Sources, shard: Shard, claims: Claims, here: Path) -> Callable[[], Iterator[pa.Table]]:
    def walk() -> Iterator[pa.Table]:
        try:
            _go(here)
            for chunk in chunks(sources, shard, claims):
                yield _packed(chunk)
        except OcellaError as error:
            yield _packed(error)
        except OSError as error:  # Ray would walk again and again
            yield _packed(JobError(f"{os.fsdecode(error.filename or '')}: {error.strerror or error}"))

    return walk


class MapChunks:
    """The actor: a worker, or why there is none. An error here would only make Ray try again for ever."""

    def __init__(self, duty: Duty, claims: Claims) -> None:
        logging.getLogger("serving").setLevel(logging.CRITICAL)  # the job says what fails, image by image
        self._worker: Worker | OcellaError
        try:
            _go(duty.here)
            self._worker = Worker(duty, claims)
        except OcellaError as error:
            self._worker = error

    def __call__(self, table: pa.Table) -> pa.Table:
        """Answer the one chunk of a table."""
        (packed,) = table.column("chunk")
        chunk = pickle.loads(packed.as_py())
        if isinstance(self._worker, OcellaError):
            return _packed(self._worker)
        if isinstance(chunk, OcellaError):
            return _packed(chunk)
        try:
            return _packed(self._worker(chunk))
        except OcellaError as error:
            return _packed(error)


def _go(here: Path) -> None:
    try:
        os.chdir(here)
    except OSError as error:
        raise JobError(f"{here} must be a folder on every machine of the cluster: {error.strerror}") from error


def _packed(value: object) -> pa.Table:
    return pa.table({"chunk": pa.array([pickle.dumps(value)], pa.large_binary())})
