"""Folders, patterns and lists: which entries, in which order, under which names."""

from __future__ import annotations

import csv
import glob
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.batch.errors import EmptySourceError, JobError
from serving.batch.sources import Choices, Sources
from tests.serving.batch.jobs import image, image_folder, rows, run, video_file


def names(*words: Path | str | bytes, **choices: object) -> list[str]:
    sources = Sources(tuple(os.fsencode(word) for word in words), Choices(**choices))  # type: ignore[arg-type]
    return [entry.text for entry in sources]


def inside(folder: Path) -> list[str]:
    return [os.path.relpath(name, folder) for name in names(folder)]


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(image(len(path)))
    return folder


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_gives_the_images_below_it_in_the_order_of_their_names(tmp_path: Path):
    make(tmp_path, "b.PNG", "a/z.jpg", "a/b/c.webp", "a.jpeg", "notes.txt", "B.tiff", ".hidden.png", ".trash/x.png")
    assert inside(tmp_path) == ["B.tiff", "a.jpeg", "a/b/c.webp", "a/z.jpg", "b.PNG"]


def test_a_link_that_leads_to_a_folder_above_it_ends_there(tmp_path: Path):
    make(tmp_path, "a/1.png", "a/b/2.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    assert inside(tmp_path) == ["a/1.png", "a/b/2.png", "self.png"]


def test_an_image_that_is_a_link_to_itself_ends_among_the_errors(tmp_path: Path):
    make(tmp_path / "in", "a.png")
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    run(tmp_path / "out", tmp_path / "in")
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (Path(error["source"]).name, error["message"]) == ("loop.png", "Too many levels of symbolic links")


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path):
    make(tmp_path / "elsewhere", "1.png")
    make(tmp_path / "in", "2.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    assert inside(tmp_path / "in") == ["2.png", "link/1.png"]


def test_a_folder_that_cannot_be_listed_is_an_entry_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path / "in", "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(folder: bytes | int) -> object:  # root may list whatever its mode says
        if isinstance(folder, bytes) and folder.endswith(b"locked"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    summary = run(tmp_path / "out", tmp_path / "in")
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (Path(error["source"]).name, error["message"]) == ("locked", "Permission denied")
    assert summary.tally.ok == 1


def test_a_name_with_a_newline_or_bytes_that_are_not_utf8_comes_back_from_its_row(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    odd = [b"new\nline.png", b"\xff\xfe.png", "\u00e4 \u732b.png".encode(), b'quote".png']
    for i, name in enumerate(odd):
        (Path(os.fsdecode(bytes(folder) + b"/" + name))).write_bytes(image(i))
    run(tmp_path / "out", folder, formats=("jsonl", "csv", "parquet", "coco", "yolo", "masks-png"))
    lines = (tmp_path / "out" / "results.jsonl").read_bytes().splitlines()
    assert len(lines) == 4
    found = {os.fsencode(json.loads(line)["source"]).rpartition(b"/")[2] for line in lines}
    assert found == set(odd)


# --- patterns --------------------------------------------------------------------------------------------------------


def test_a_pattern_gives_what_it_matches_in_order_whatever_the_suffix(tmp_path: Path):
    make(tmp_path, "b.png", "a.png", "c.dat", "d/e.png", "d/f/g.png")
    assert names(f"{tmp_path}/*") == [f"{tmp_path}/{name}" for name in ("a.png", "b.png", "c.dat")]
    assert names(f"{tmp_path}/**/*.png") == [
        f"{tmp_path}/{name}" for name in ("a.png", "b.png", "d/e.png", "d/f/g.png")
    ]


@pytest.mark.parametrize(
    "pattern",
    ["**/*.png", "**", "d/**", "**/f/*.png", "**/**/*.png", "*/**/*.png", "**/d/**/*.png", "d/**/", "**/.*/*"],
)
def test_any_folders_match_as_in_pythons_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str):
    make(tmp_path, "b.png", ".c.png", "d/e.png", "d/f/g.png", "d/f/d/h.png", ".h/i.png", "[x]/j.png")
    for word in (pattern, f"{tmp_path}/{pattern}"):
        monkeypatch.chdir(tmp_path)
        found = {path for path in glob.iglob(word, recursive=True) if not Path(path).is_dir()}  # noqa: PTH207
        assert names(word) == sorted(found)


def test_any_folders_do_not_follow_a_link_to_a_folder_above(tmp_path: Path):
    make(tmp_path, "a/1.png", "a/b/2.png")
    make(tmp_path.with_name("elsewhere"), "3.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path.with_name("elsewhere"))
    assert names(f"{tmp_path}/**/*.png") == [f"{tmp_path}/{name}" for name in ("a/1.png", "a/b/2.png", "link/3.png")]


def test_shards_and_videos_that_a_pattern_matches_are_opened_and_texts_are_not(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 2)
    with tarfile.open(folder / "shard-0.tar", "w") as tar:
        tar.add(folder / "0001.png", arcname="7.png")
    video_file(folder / "clip.avi", 2)
    (folder / "notes.txt").write_text("0000.png\n")
    found = [name.removeprefix(f"{folder}/") for name in names(f"{folder}/*")]
    assert found == ["0000.png", "0001.png", "clip.avi#frame=0", "clip.avi#frame=1", "notes.txt", "shard-0.tar#7.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path):
    make(tmp_path, "a[1].png", "a1.png")
    assert names(f"{tmp_path}/a[1].png") == [f"{tmp_path}/a[1].png"]


def test_a_pattern_without_a_match_is_refused(tmp_path: Path):
    with pytest.raises(EmptySourceError, match=r"\*\.png must name an image, it names none"):
        Sources((os.fsencode(f"{tmp_path}/*.png"),)).check()


def test_a_word_that_names_nothing_is_refused(tmp_path: Path):
    with pytest.raises(JobError, match="must be a folder, a file or a pattern, there is none"):
        Sources((os.fsencode(tmp_path / "nothing"),)).check()


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_text_list_names_a_file_a_line_relative_to_itself(tmp_path: Path):
    make(tmp_path, "a.png", "#b .png")
    (tmp_path / "list.txt").write_bytes(b"a.png\r\n\n#b .png\n/else/where.png\n\xff.png")
    assert names(tmp_path / "list.txt") == [
        f"{tmp_path}/a.png",
        f"{tmp_path}/#b .png",
        "/else/where.png",
        f"{tmp_path}/\udcff.png",
    ]


def test_a_csv_list_takes_the_column_of_paths(tmp_path: Path):
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label", "file_name", "mine"], ["cat", "new\nline.png", "m.png"], [], ["dog"]])
    assert names(tmp_path / "list.csv")[0] == f"{tmp_path}/new\nline.png"
    assert names(tmp_path / "list.csv", column="mine")[0] == f"{tmp_path}/m.png"
    with pytest.raises(JobError, match="must have a column other, it has label, file_name, mine"):
        names(tmp_path / "list.csv", column="other")


def test_a_row_without_a_path_ends_among_the_errors(tmp_path: Path):
    make(tmp_path, "a.png")
    (tmp_path / "list.csv").write_text("label,path\ncat,a.png\ndog\n")
    run(tmp_path / "out", tmp_path / "list.csv")
    assert [error["message"] for error in rows(tmp_path / "out", "errors.jsonl")] == [
        "a list must name a file in each row"
    ]


def test_a_csv_list_without_a_column_of_paths_is_refused(tmp_path: Path):
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(JobError, match=r"must have a column path or .* \(or --column NAME\), it has a, b"):
        names(tmp_path / "list.csv")


def test_a_parquet_list_takes_the_column_of_paths(tmp_path: Path):
    table = pa.table({"id": [1, 2, 3], "path": ["a.png", "b.png", None]})
    parquet.write_table(table, tmp_path / "list.parquet")
    assert names(tmp_path / "list.parquet") == [f"{tmp_path}/a.png", f"{tmp_path}/b.png", "(empty)"]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path):
    (tmp_path / "list.parquet").write_bytes(b"no")
    with pytest.raises(JobError, match=r"list\.parquet must be a Parquet file"):
        names(tmp_path / "list.parquet")


def test_a_list_of_many_entries_is_never_held(tmp_path: Path):
    import tracemalloc

    (tmp_path / "list.txt").write_text("".join(f"image-{i:07}.png\n" for i in range(20_000)))
    entries = iter(Sources((os.fsencode(tmp_path / "list.txt"),)))
    tracemalloc.start()
    count = sum(1 for _ in entries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 60_000, "3 bytes an entry; the names alone have 17"


def test_rows_of_one_image_under_two_words_keep_their_words(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 2)
    (folder / "list.txt").write_text("0001.png\n")
    run(tmp_path / "out", folder, folder / "list.txt")
    assert [row["index"] for row in rows(tmp_path / "out")] == [0, 1, 2]
