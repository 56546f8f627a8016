from pathlib import Path

import numpy as np
import pytest

from export.data.collect import ReadOptions
from export.data.dataset import DatasetError
from export.data.detect_format import read_dataset
from export.data.yolo_txt import read_yolo
from tests import datasets


def reasons(root: Path) -> list[str]:
    return [problem.reason for problem in read_yolo(root, ReadOptions()).problems]


def test_an_outline_gives_its_bounds_and_its_area(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"a": "1 0.25 0.25 0.75 0.25 0.25 0.75"}, names=["cat", "dog"])
    target = read_yolo(root, ReadOptions()).samples[0].target
    np.testing.assert_allclose(target.boxes, [[15, 10, 45, 30]])
    assert target.areas.tolist() == [300.0]  # half of 30 x 20
    assert target.class_ids.tolist() == [1]


def test_an_image_without_a_text_file_holds_no_object(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2", "b": ""})
    (root / "labels" / "b.txt").unlink()
    dataset = read_yolo(root, ReadOptions(on_error="refuse"))
    assert [len(sample.target) for sample in dataset.samples] == [1, 0]


def test_without_names_the_classes_are_their_numbers(tmp_path: Path):
    assert read_yolo(datasets.yolo(tmp_path, {"a": "2 0.5 0.5 0.2 0.2"}), ReadOptions()).labels == ("0", "1", "2")


def test_text_files_beside_the_images_are_read(tmp_path: Path):
    datasets.write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert len(read_yolo(tmp_path, ReadOptions()).samples[0].target) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("5 0.5 0.5 0.2 0.2", "line 1: the class must be below 2"),
        ("cat 0.5 0.5 0.2 0.2", "the class must be a whole number from 0 on, got 'cat'"),
        ("-1 0.5 0.5 0.2 0.2", "whole number from 0 on"),
        ("0 0.5 0.5 0.2", "got 4 words"),
        ("0 0.5 0.5 0.2 0.2 0.9", "got 6 words"),
        ("0 0.5 0.5 0.2 x", "could not convert"),
        ("0 0.5 nan 0.2 0.2", "finite corners"),
        ("0 0.5 0.5 -0.2 0.2", "area above 0"),
    ],
)
def test_a_broken_line_is_named(line: str, reason: str, tmp_path: Path):
    (found,) = reasons(datasets.yolo(tmp_path, {"a": line}, names=["cat", "dog"]))
    assert reason in found


def test_a_file_that_is_no_text_leaves_its_image_out(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2", "b": ""})
    (root / "labels" / "b.txt").write_bytes(b"0 \xff\xfe")
    dataset = read_yolo(root, ReadOptions())
    assert len(dataset) == 1
    assert "must be text in UTF-8" in dataset.problems[0].reason


def test_two_images_of_one_text_file_are_named(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2"})
    datasets.write_image(root / "images" / "a.jpg")
    (found,) = reasons(root)
    assert "each text file must have one image" in found


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"a": ""}, names=["cat", "cat"])
    with pytest.raises(DatasetError, match="line 2 names 'cat' again"):
        read_yolo(root, ReadOptions())


def test_a_split_of_images_has_its_text_files_in_that_of_labels(tmp_path: Path):
    root = datasets.yolo(tmp_path, {"train/a": "1 0.5 0.5 0.2 0.2", "val/b": ""}, names=["cat", "dog"])
    dataset = read_dataset(root / "images" / "train")
    assert (dataset.format, dataset.labels) == ("yolo", ("cat", "dog"))
    assert [sample.path.name for sample in dataset.samples] == ["a.png"]
    assert dataset.samples[0].target.class_ids.tolist() == [1]
