from pathlib import Path

import pytest

from export.data.collect import ReadOptions
from export.data.dataset import DatasetError
from export.data.image_folder import read_class_folders, read_identity_folders
from tests import datasets


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path):
    root = datasets.folders(tmp_path, {"dog": 2, "cat": 1})
    datasets.write_image(root / "cat" / "more" / "deep.jpg")
    datasets.write_image(root / "cat" / ".hidden" / "x.png")
    dataset = read_class_folders(root, ReadOptions(on_error="refuse"))
    assert dataset.labels == ("cat", "dog")
    assert dataset.counts() == {"cat": 2, "dog": 2}
    assert dataset.task == "classification"


def test_an_image_in_no_folder_is_named(tmp_path: Path):
    root = datasets.folders(tmp_path, {"cat": 1, "dog": 1})
    datasets.write_image(root / "stray.png")
    dataset = read_class_folders(root, ReadOptions())
    assert [str(problem) for problem in dataset.problems] == [
        f"{root / 'stray.png'}: an image must lie in the folder of its class or person"
    ]
    assert len(dataset) == 2


def test_folders_may_be_people(tmp_path: Path):
    dataset = read_identity_folders(datasets.folders(tmp_path, {"ada": 2, "bob": 2}), ReadOptions())
    assert [sample.target.identity for sample in dataset.samples] == [0, 0, 1, 1]
    assert dataset.task == "embedding"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\n", "whole"),
        ("empty.jpg", b"", "must be JPEG, PNG"),
        ("page.html.png", b"<html>", "must be JPEG, PNG"),
        ("notes.txt", b"cats", "name must end in one of"),
    ],
)
def test_a_broken_file_is_named_and_left_out_or_refused(name: str, data: bytes, reason: str, tmp_path: Path):
    root = datasets.folders(tmp_path, {"cat": 1})
    (root / "cat" / name).write_bytes(data)
    dataset = read_class_folders(root, ReadOptions())
    assert len(dataset) == 1
    (problem,) = dataset.problems
    assert problem.path.name == name
    assert reason in problem.reason
    with pytest.raises(DatasetError, match=rf"{name}.*--on-error skip, or data.on_error"):
        read_class_folders(root, ReadOptions(on_error="refuse"))


def test_sizes_are_those_of_the_image_as_it_is_shown(tmp_path: Path):
    datasets.write_rotated(tmp_path / "cat" / "a.jpg")
    assert read_class_folders(tmp_path, ReadOptions()).samples[0].size_hw == (60, 40)


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="name each class once, got 'Cat' and 'cat'"):
        read_class_folders(datasets.folders(tmp_path, {"Cat": 1, "cat": 1}), ReadOptions())


def test_a_folder_that_no_label_names_is_left_out(tmp_path: Path):
    dataset = read_class_folders(datasets.folders(tmp_path, {"cat": 1, "cow": 1}), ReadOptions(labels=("dog", "cat")))
    assert dataset.counts() == {"dog": 0, "cat": 1}
    assert "must be named as one of the labels: dog, cat" in dataset.problems[0].reason


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_what_is_no_folder_of_folders_is_refused(what: str, tmp_path: Path):
    root = tmp_path / what
    if what == "file":
        root.write_text("")
    if what == "empty":
        root.mkdir()
    with pytest.raises(DatasetError, match=r"must be a folder|must hold a folder for each class"):
        read_class_folders(root, ReadOptions())
