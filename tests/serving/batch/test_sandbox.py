"""An image on which the process dies: the same command gets past it, and blames nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL.PngImagePlugin import PngInfo

from pipelines.options import PredictOptions
from serving.batch.content import Content
from serving.batch.errors import JobError
from serving.batch.journal import Journal
from serving.batch.local import local_engine
from serving.batch.sandbox import Order, Sandbox
from serving.batch.working import Working
from tests.packages import make_package, photo, png
from tests.serving.batch.jobs import data_files, image_folder, rows, run
from tests.serving.servers import PATIENCE_S

NO_OPTIONS = PredictOptions()
DEADLY = Path(__file__).parent / "deadly"
SHA256 = "ab" * 32


def deadly_image() -> bytes:
    """A good image for us; a process that reads the folder ``deadly`` dies of it."""
    note = PngInfo()
    note.add_text("Comment", "deadly image")
    return png(photo("coffee", size_wh=(90, 60)), pnginfo=note)


def path_of_the_deadly() -> str:
    return os.pathsep.join([str(DEADLY), str(Path.cwd())])


def test_what_was_in_work_when_a_process_died_is_left_for_the_next(tmp_path: Path):
    with Working(tmp_path / "working", slots=3) as working:
        working.clear()
        with working.on("01" * 32), working.on("02" * 32):
            shutil.copy(tmp_path / "working", tmp_path / "killed")
    with Working(tmp_path / "killed", slots=1) as working:
        assert set(working.left) == {"01" * 32, "02" * 32}


def test_a_process_that_ends_well_leaves_nothing(tmp_path: Path):
    with Working(tmp_path / "working", slots=3) as working, working.on(SHA256):
        pass
    with Working(tmp_path / "working", slots=5) as working:
        assert working.left == ()


def test_a_content_stays_under_suspicion_until_its_outcome_lasts(tmp_path: Path, folders: dict[str, Path]):
    folder = image_folder(tmp_path / "in", 3)
    run(tmp_path / "first", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    sha256 = rows(tmp_path / "first")[1]["sha256"]
    (tmp_path / "out" / ".ocella").mkdir(parents=True)
    with Journal(tmp_path / "out" / ".ocella" / "journal.sqlite") as journal:
        journal.suspect([sha256])
    run(tmp_path / "out", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    assert data_files(tmp_path / "out") == data_files(tmp_path / "first")
    with Journal(tmp_path / "out" / ".ocella" / "journal.sqlite") as journal:
        assert journal.suspects() == frozenset()


def test_an_image_of_which_its_own_process_dies_is_quarantined_with_the_signal(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    folder = image_folder(tmp_path / "in", 3)
    (folder / "deadly.png").write_bytes(deadly_image())
    run(tmp_path / "whole", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    left = [row["sha256"] for row in rows(tmp_path / "whole")]
    (tmp_path / "out" / ".ocella").mkdir(parents=True)
    (tmp_path / "out" / ".ocella" / "working").write_bytes(b"".join(map(bytes.fromhex, left)))
    monkeypatch.setenv("PYTHONPATH", path_of_the_deadly())
    run(tmp_path / "out", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (Path(error["source"]).name, error["reason"]) == ("deadly.png", "ProcessDiedError")
    assert error["message"] == "a process that worked on this image alone died of SIGSEGV"
    assert rows(tmp_path / "out") == [row for row in rows(tmp_path / "whole") if not row["source"].endswith("y.png")]


async def test_a_second_process_that_cannot_load_the_package_ends_the_job(tmp_path: Path):
    order = Order(tmp_path / "gone", NO_OPTIONS, None)
    with Sandbox(order) as sandbox, pytest.raises(JobError, match=r"must load in a second process.*there is none"):
        await sandbox.compute(Content(SHA256, b"", wants_thumbnail=False))


@pytest.mark.slow
def test_the_command_that_died_of_an_image_gets_past_it_when_it_is_given_again(tmp_path: Path):
    package = make_package(tmp_path / "tiny")
    folder = image_folder(tmp_path / "in", 40)
    (folder / "0020.png").write_bytes(deadly_image())
    command = [sys.executable, "-m", "ocella", "batch", str(folder), "--model", str(package), "--out"]
    environment = os.environ | {"PYTHONPATH": path_of_the_deadly()}

    def give() -> subprocess.CompletedProcess[str]:
        words = [*command, str(tmp_path / "out")]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert give().returncode == -signal.SIGSEGV
    assert "1 of 40 images failed" in give().stderr
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (Path(error["source"]).name, error["reason"]) == ("0020.png", "ProcessDiedError")
    before = data_files(tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 39
    assert give().returncode == 1
    assert data_files(tmp_path / "out") == before
