"""``kill -9`` at any moment, and the same command again: nothing missing, nothing twice, the same bytes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import make_package
from tests.serving.batch.jobs import FakeEngine, data_files, image_folder, run
from tests.serving.batch.killed import FORMATS, POINTS
from tests.serving.servers import PATIENCE_S

NUM_IMAGES = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "in", NUM_IMAGES, bad=(9, 40), equal={20: 3, 55: 3, 56: 4})


def die(point: str, folder: Path, out: Path) -> None:
    command = [sys.executable, "-m", "tests.serving.batch.killed", point, str(folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def committed(out: Path) -> int:
    with sqlite3.connect(out / ".ocella" / "journal.sqlite") as journal:
        count: int = journal.execute("SELECT COUNT(*) FROM entries JOIN outcomes USING (sha256)").fetchone()[0]
    return count


def test_a_job_killed_at_one_point_after_the_other_ends_as_one_that_never_was(tmp_path: Path, folder: Path):
    run(tmp_path / "whole", folder, formats=FORMATS, draw=True)
    counts = []
    for point in ("inside a commit:2", "after a commit:3"):
        die(point, folder, tmp_path / "out")
        counts.append(committed(tmp_path / "out"))
        assert {path.name for path in (tmp_path / "out").iterdir()} == {".ocella", "overlays"}
    assert counts == [8, 32], "a commit is there whole or not at all, and the next run begins behind it"
    die("after a publish:2", folder, tmp_path / "out")
    engine = FakeEngine()
    run(tmp_path / "out", folder, engine=engine, formats=FORMATS, draw=True)
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")
    assert engine.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_job_killed_at_any_point_ends_as_one_that_never_was(tmp_path: Path, folder: Path, point: str):
    run(tmp_path / "whole", folder, formats=FORMATS, draw=True)
    die(point, folder, tmp_path / "out")
    run(tmp_path / "out", folder, formats=FORMATS, draw=True)
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 40, 200])
def test_the_command_killed_from_outside_and_given_again_ends_as_one_that_was_left_alone(tmp_path: Path, least: int):
    package = make_package(tmp_path / "tiny")
    folder = image_folder(tmp_path / "in", 400, bad=(9, 140), equal={20: 3, 255: 3})

    def command(out: Path) -> list[str]:
        words = ["batch", str(folder), "--model", str(package), "--out", str(out), "--format", "csv"]
        return [sys.executable, "-m", "ocella", *words, "--format", "jsonl"]

    subprocess.run(command(tmp_path / "whole"), capture_output=True, timeout=PATIENCE_S, check=False)
    with subprocess.Popen(command(tmp_path / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            journal = tmp_path / "out" / ".ocella" / "journal.sqlite"
            if journal.exists() and journal.stat().st_size and _entries(journal) >= least:
                process.kill()
                break
    done = subprocess.run(command(tmp_path / "out"), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "2 of 400 images failed" in done.stderr
    assert len(data_files(tmp_path / "whole")) == 3
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")


def _entries(journal: Path) -> int:
    try:
        return committed(journal.parents[1])
    except sqlite3.OperationalError:  # its tables are not there yet
        return 0
