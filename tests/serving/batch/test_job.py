"""Exactly once: each entry has one row, each content is computed once, whatever happened to earlier runs."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from pipelines.errors import ModelRunError
from serving.batch import job as job_module
from serving.batch.errors import EmptySourceError, JobLockedError, OtherJobError
from serving.batch.lock import locked
from serving.batch.shard import Shard
from tests.serving.batch.jobs import FakeEngine, data_files, image, image_folder, rows, run


def test_each_entry_has_one_row_in_the_order_of_the_source(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 150)
    summary = run(tmp_path / "out", folder)
    assert [row["source"] for row in rows(tmp_path / "out")] == [str(path) for path in sorted(folder.iterdir())]
    assert [row["index"] for row in rows(tmp_path / "out")] == list(range(150))
    assert (summary.complete, summary.tally.ok, summary.computed) == (True, 150, 150)


def test_the_sha256_of_a_row_is_that_of_the_file(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 3)
    run(tmp_path / "out", folder)
    assert [row["sha256"] for row in rows(tmp_path / "out")] == [
        sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())
    ]


def test_identical_images_have_a_row_each_and_are_computed_once(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 200, equal={i: i % 5 for i in range(200)})
    engine = FakeEngine()
    summary = run(tmp_path / "out", folder, engine=engine)
    assert len(rows(tmp_path / "out")) == 200
    assert (len(engine.asked), summary.computed) == (5, 5)


def test_a_path_that_is_given_twice_has_two_rows(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 2)
    engine = FakeEngine()
    run(tmp_path / "out", folder, folder / "0001.png", engine=engine)
    assert [Path(row["source"]).name for row in rows(tmp_path / "out")] == ["0000.png", "0001.png", "0001.png"]
    assert len(engine.asked) == 2


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 20, bad=(7,))
    run(tmp_path / "out", folder)
    before, engine = data_files(tmp_path / "out"), FakeEngine()
    summary = run(tmp_path / "out", folder, engine=engine)
    assert engine.asked == []
    assert (summary.computed, summary.tally.ok, summary.tally.failed) == (0, 19, 1)
    assert data_files(tmp_path / "out") == before


def test_another_format_is_written_from_the_journal(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 5)
    run(tmp_path / "out", folder)
    engine = FakeEngine()
    run(tmp_path / "out", folder, engine=engine, formats=("csv",))
    assert engine.asked == []
    assert (tmp_path / "out" / "results.csv").exists()


def test_what_a_run_of_another_format_has_written_does_not_stay_behind(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 5)
    run(tmp_path / "out", folder, formats=("jsonl", "yolo", "coco"))
    run(tmp_path / "out", folder, formats=("csv",))
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {".ocella", "results.csv", "errors.jsonl", "contact_sheet.png", "summary.html", "summary.json"}


def test_what_somebody_else_has_put_into_the_output_folder_stays(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 5)
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "mine.txt").write_text("0 0.5 0.5 1 1\n")
    run(tmp_path / "out", folder)
    run(tmp_path / "out", folder, formats=("csv",))
    assert (tmp_path / "out" / "labels" / "mine.txt").exists()
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_an_image_replaced_between_runs_is_computed_anew_and_the_others_are_not(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 5)
    run(tmp_path / "out", folder)
    (folder / "0002.png").write_bytes(image(999, (30, 20)))
    engine = FakeEngine()
    run(tmp_path / "out", folder, engine=engine)
    assert engine.asked == [image(999, (30, 20))]
    assert rows(tmp_path / "out")[2]["sha256"] == sha256(image(999, (30, 20))).hexdigest()
    assert (rows(tmp_path / "out")[2]["width"], rows(tmp_path / "out")[2]["height"]) == (20, 30)


def test_an_image_replaced_during_the_run_has_the_sha256_of_the_bytes_that_were_computed(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 1)

    def replace(_: bytes) -> None:
        (folder / "0000.png").write_bytes(image(999))

    run(tmp_path / "out", folder, engine=FakeEngine(fault=replace))
    assert rows(tmp_path / "out")[0]["sha256"] == sha256(image(0)).hexdigest()
    run(tmp_path / "out", folder)
    assert rows(tmp_path / "out")[0]["sha256"] == sha256(image(999)).hexdigest()


def test_a_failure_stays_with_its_image(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 10, bad=(3,))
    summary = run(tmp_path / "out", folder)
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["index"], error["reason"]) == (3, "ImageDecodeError")
    assert "must be JPEG, PNG" in error["message"]
    assert len(rows(tmp_path / "out")) == 9
    assert (summary.complete, summary.tally.failed) == (True, 1)


def test_an_image_that_the_model_fails_on_is_quarantined_and_tried_again_by_the_next_run(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 10)

    def fail(data: bytes) -> None:
        if data == image(4):
            raise ModelRunError("the graph fell over")

    run(tmp_path / "out", folder, engine=FakeEngine(fault=fail))
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["index"], error["reason"], error["message"]) == (4, "ModelRunError", "the graph fell over")
    before, engine = data_files(tmp_path / "out"), FakeEngine(fault=fail)
    run(tmp_path / "out", folder, engine=engine)
    assert set(engine.asked) == {image(4)}
    assert data_files(tmp_path / "out") == before


def test_a_file_that_could_not_be_read_is_tried_again_by_the_next_run(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 2)
    (folder / "gone.png").symlink_to(folder / "later")
    run(tmp_path / "out", folder)
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["reason"], error["message"], error["sha256"]) == (
        "FileNotFoundError",
        "No such file or directory",
        None,
    )
    (folder / "later").write_bytes(image(8))
    summary = run(tmp_path / "out", folder)
    assert (summary.tally.ok, summary.tally.failed, summary.computed) == (3, 0, 1)


def test_one_failure_more_than_allowed_stops_the_job_and_publishes_nothing(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 20, bad=(2, 5, 9))
    summary = run(tmp_path / "out", folder, max_errors=2)
    assert not summary.complete
    assert "at most 2 images may fail, 3 did" in summary.problem
    assert not (tmp_path / "out" / "results.jsonl").exists()
    summary = run(tmp_path / "out", folder, max_errors=3)
    assert (summary.complete, summary.tally.ok) == (True, 17)


def test_the_shards_share_no_image_and_leave_none_out(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 60)
    indices = []
    for number in (1, 2, 3):
        run(tmp_path / str(number), folder, shard=Shard(number, 3))
        found = [row["index"] for row in rows(tmp_path / str(number))]
        assert len(found) >= 8
        indices += found
    assert sorted(indices) == list(range(60))


def test_an_empty_folder_is_refused(tmp_path: Path):
    (tmp_path / "in").mkdir()
    with pytest.raises(EmptySourceError, match=r"in must hold an image \(.jpg .*\), it holds none"):
        run(tmp_path / "out", tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_job_is_refused_with_the_difference(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 1)
    run(tmp_path / "out", folder)
    with pytest.raises(OtherJobError, match=r'belongs to another job: shard there "1/1", here "1/2"'):
        run(tmp_path / "out", folder, shard=Shard(1, 2))
    with pytest.raises(OtherJobError, match=r"package sha256 there"):
        run(tmp_path / "out", folder, engine=FakeEngine("classification"))
    with pytest.raises(OtherJobError, match=r"sources there \[.*/in\"\], here \[.*0000.png\"\]"):
        run(tmp_path / "out", folder / "0000.png")


def test_a_second_process_on_the_same_folder_is_refused_with_the_number_of_the_first(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 1)
    (tmp_path / "out" / ".ocella").mkdir(parents=True)
    with (
        locked(tmp_path / "out" / ".ocella" / "lock", of=tmp_path / "out"),
        pytest.raises(JobLockedError, match=f"one process at a time, process {os.getpid()} works in it"),
    ):
        run(tmp_path / "out", folder)
    assert run(tmp_path / "out", folder).complete


def test_overlays_that_are_asked_for_later_or_are_gone_are_drawn(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 3, bad=(1,))
    run(tmp_path / "out", folder)
    assert not (tmp_path / "out" / "overlays").exists()
    run(tmp_path / "out", folder, draw=True)
    names = {path.name for path in (tmp_path / "out" / "overlays").iterdir()}
    assert names == {f"{row['sha256']}.png" for row in rows(tmp_path / "out")}
    next((tmp_path / "out" / "overlays").iterdir()).unlink()
    engine = FakeEngine()
    run(tmp_path / "out", folder, engine=engine, draw=True)
    assert len(engine.asked) == 1
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 2


def test_rows_are_committed_while_a_slow_image_holds_up_those_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_module, "COMMIT_ROWS", 3)
    folder = image_folder(tmp_path / "in", 30, bad=(0, 11))
    run(tmp_path / "out", folder)
    assert [row["index"] for row in rows(tmp_path / "out")] == [i for i in range(30) if i not in (0, 11)]
