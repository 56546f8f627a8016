"""Tar shards: their images, read in place or in their turn, and what a damaged one gives."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from serving.batch.sources import shard_tar
from tests.serving.batch.jobs import data_files, image, rows, run


def make_tar(path: Path, count: int, *, mode: str = "w") -> Path:
    """A WebDataset shard: an image, a class and a text for each key."""
    with tarfile.open(path, mode) as tar:
        for i in range(count):
            for suffix, data in (("png", image(i)), ("cls", b"3"), ("txt", b"a cat")):
                member = tarfile.TarInfo(f"train/{i:06}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def test_each_image_of_a_shard_is_a_row_and_its_companions_are_none(tmp_path: Path):
    shard = make_tar(tmp_path / "shard-000.tar", 40)
    run(tmp_path / "out", shard)
    assert [row["source"] for row in rows(tmp_path / "out")] == [f"{shard}#train/{i:06}.png" for i in range(40)]


@pytest.mark.parametrize(("suffix", "mode"), [("tar.gz", "w:gz"), ("tar.xz", "w:xz")])
def test_a_compressed_shard_gives_the_results_of_a_plain_one(tmp_path: Path, suffix: str, mode: str):
    plain, packed = make_tar(tmp_path / "a.tar", 30), make_tar(tmp_path / f"a.{suffix}", 30, mode=mode)
    run(tmp_path / "plain", plain)
    run(tmp_path / "packed", packed)
    results = [[row["result"] for row in rows(tmp_path / name)] for name in ("plain", "packed")]
    assert len(results[0]) == 30
    assert results[0] == results[1]


def test_a_second_run_over_a_shard_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shard = make_tar(tmp_path / "a.tar.gz", 5, mode="w:gz")
    run(tmp_path / "out", shard)
    before = data_files(tmp_path / "out")

    def refuse(*_: object) -> bytes:
        raise AssertionError("an image that is known was read")

    monkeypatch.setattr(shard_tar, "_in_turn", refuse)
    run(tmp_path / "out", shard)
    assert data_files(tmp_path / "out") == before


@pytest.mark.parametrize("end", [10_000, 12_345, 512 * 9])
def test_what_a_cut_shard_does_not_reach_is_an_error_and_not_silence(tmp_path: Path, end: int):
    shard = make_tar(tmp_path / "a.tar", 40)
    os.truncate(shard, end)
    run(tmp_path / "out", shard)
    errors = rows(tmp_path / "out", "errors.jsonl")
    assert errors != []
    assert {error["reason"] for error in errors} == {"OSError"}


def test_a_shard_that_is_cut_between_two_members_is_an_error(tmp_path: Path):
    shard = make_tar(tmp_path / "a.tar", 40)
    with tarfile.open(shard) as tar:
        offset = tar.getmembers()[30].offset
    os.truncate(shard, offset)
    run(tmp_path / "out", shard)
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["source"], len(rows(tmp_path / "out"))) == (str(shard), 10)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 1.0])
def test_a_flipped_byte_in_a_compressed_shard_is_an_error_and_the_job_ends(tmp_path: Path, suffix: str, place: float):
    shard = make_tar(tmp_path / f"a.tar.{suffix}", 40, mode=f"w:{suffix}")
    data = bytearray(shard.read_bytes())
    data[int(place * (len(data) - 20))] ^= 0xFF
    shard.write_bytes(data)
    summary = run(tmp_path / "out", shard)
    assert (summary.complete, summary.problem) == (True, "")
    errors = rows(tmp_path / "out", "errors.jsonl")
    assert errors[-1]["source"] == str(shard)
    assert "a tar must be whole" in errors[-1]["message"]


def test_a_shard_that_may_not_be_read_is_an_error_in_the_systems_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shard = make_tar(tmp_path / "a.tar", 1)

    def refuse(*_: object, **__: object) -> None:  # root may read whatever its mode says
        raise PermissionError(13, "Permission denied", str(shard))

    monkeypatch.setattr(tarfile, "open", refuse)
    assert run(tmp_path / "out", shard).complete
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["source"], error["message"]) == (str(shard), "Permission denied")


def test_a_damaged_header_in_the_middle_is_an_error_and_not_the_end(tmp_path: Path):
    shard = make_tar(tmp_path / "a.tar", 10)
    with tarfile.open(shard) as tar:
        offset = tar.getmembers()[9].offset
    data = bytearray(shard.read_bytes())
    data[offset : offset + 512] = b"\xaa" * 512
    shard.write_bytes(data)
    run(tmp_path / "out", shard)
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (error["source"], len(rows(tmp_path / "out"))) == (str(shard), 3)
    assert "a tar must be whole" in error["message"]


def test_a_file_that_is_no_tar_is_an_error(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(b"no tar at all")
    run(tmp_path / "out", tmp_path / "a.tar")
    assert "a tar must be whole" in rows(tmp_path / "out", "errors.jsonl")[0]["message"]
