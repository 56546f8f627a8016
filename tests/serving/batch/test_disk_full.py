"""A disk that fills up: one clear sentence, nothing half written, and the job goes on once there is room."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.batch import draw, outputs
from serving.batch.journal import Journal
from tests.serving.batch.jobs import FakeEngine, data_files, image_folder, run

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse(*_: Any, **__: Any) -> None:
    raise FULL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "in", 30)


def test_a_disk_that_is_full_when_outputs_are_put_into_place(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "publish", refuse)
        summary = run(tmp_path / "out", folder)
    assert not summary.complete
    assert summary.problem == (
        f"{tmp_path / 'out'} is full (No space left on device): "
        "make room and give the same command, what was computed is kept"
    )
    assert data_files(tmp_path / "out") == {}
    engine = FakeEngine()
    assert run(tmp_path / "out", folder, engine=engine).complete
    assert engine.asked == []


def test_a_disk_that_is_full_when_an_overlay_is_written(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(draw.Overlays, "write", refuse)
        summary = run(tmp_path / "out", folder, draw=True)
    assert summary.problem == f"{tmp_path / 'out' / 'overlays'} cannot be written: No space left on device"
    assert run(tmp_path / "out", folder, draw=True).tally.ok == 30


def test_a_journal_that_cannot_grow_ends_the_job_and_stays_whole(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    init = Journal.__init__

    def small(journal: Journal, path: Path) -> None:
        init(journal, path)
        journal._db.execute("PRAGMA max_page_count = 8")  # SQLite's own way to be out of room

    monkeypatch.setattr("serving.batch.job.COMMIT_ROWS", 4)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "__init__", small)
        summary = run(tmp_path / "out", folder)
    assert "journal.sqlite cannot be written: database or disk is full; what was kept is whole" in summary.problem
    engine = FakeEngine()
    assert run(tmp_path / "out", folder, engine=engine).tally.ok == 30
    assert 0 < len(engine.asked) < 30, "what had been committed was not computed again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_real_disk_that_fills_up_costs_nothing_but_time(tmp_path: Path, small_disk: Path):
    folder = image_folder(tmp_path / "in", 120)
    formats = ("jsonl", "csv", "masks-rle")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(350_000))
    summary = run(small_disk / "out", folder, formats=formats)
    assert not summary.complete
    assert "full" in summary.problem or "cannot be written" in summary.problem
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert run(small_disk / "out", folder, formats=formats).tally.ok == 120
    run(tmp_path / "whole", folder, formats=formats)
    assert data_files(small_disk / "out") == data_files(tmp_path / "whole")
