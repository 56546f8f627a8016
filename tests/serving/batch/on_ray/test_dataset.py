"""The walk over the sources on a cluster, called in this process: whatever ends it is told, never tried for ever."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'ocella[ray]'")

from serving.batch.entry import Entry
from serving.batch.errors import JobError
from serving.batch.on_ray.dataset import _walk
from serving.batch.on_ray.ledger import Ledger
from serving.batch.shard import WHOLE


class Failing:
    """A source on a disk that fails."""

    def __iter__(self) -> Iterator[Entry]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/disk/list.txt")


def test_a_source_that_cannot_be_read_ends_the_job_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # the walk goes there
    with closing(Ledger(tmp_path / "journal.sqlite", None)) as ledger:
        (table,) = _walk(Failing(), WHOLE, ledger, tmp_path)()  # type: ignore[arg-type]
    (packed,) = table.column("chunk")
    error = pickle.loads(packed.as_py())
    assert (type(error), str(error)) == (JobError, "/disk/list.txt: Input/output error")
