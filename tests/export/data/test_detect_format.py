from collections.abc import Callable
from pathlib import Path

import pytest

from export.data.dataset import DatasetError
from export.data.detect_format import detect_format, read_dataset
from export.data.summary import summary, summary_json
from tests import datasets

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "class-folders": lambda root: datasets.folders(root, {"cat": 1, "dog": 1}),
    "coco": lambda root: datasets.coco(root, [datasets.annotation()]),
    "masks": lambda root: datasets.masks(root, {"a": datasets.square()}),
    "voc": lambda root: datasets.voc(root, {"a": datasets.voc_object()}),
    "yolo": lambda root: datasets.yolo(root, {"a": "0 0.5 0.5 0.2 0.2"}, names=["cat"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_files_show_the_format(name: str, tmp_path: Path):
    root = LAYOUTS[name](tmp_path)
    assert detect_format(root) == name
    assert read_dataset(root).format == name


def test_the_task_decides_where_a_layout_has_two_meanings(tmp_path: Path):
    assert detect_format(LAYOUTS["class-folders"](tmp_path / "a"), task="embedding") == "identity-folders"
    assert detect_format(LAYOUTS["coco"](tmp_path / "b"), task="segmentation") == "coco-masks"


def test_a_text_file_beside_no_image_is_no_label(tmp_path: Path):
    root = LAYOUTS["class-folders"](tmp_path)
    (root / "cat.txt").write_text("what a cat is")
    assert detect_format(root) == "class-folders"


def test_two_layouts_at_once_are_asked_about(tmp_path: Path):
    LAYOUTS["voc"](tmp_path)
    LAYOUTS["coco"](tmp_path)
    with pytest.raises(DatasetError, match="may be coco or voc: say which with --format"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, format_="voc").format == "voc"


def test_an_unknown_layout_format_or_path_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="must hold folders of images"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"format must be one of class-folders, .* got 'csv'"):
        read_dataset(tmp_path, format_="csv")
    with pytest.raises(DatasetError, match="does not exist"):
        read_dataset(tmp_path / "nothing")


def test_the_summary_counts_what_was_read_and_names_what_was_not(tmp_path: Path):
    text = datasets.voc_object() + datasets.voc_object("dog", difficult=1) + datasets.voc_object(box=(1, 1, 1, 1))
    dataset = read_dataset(datasets.voc(tmp_path, {"a": text, "b": datasets.voc_object("dog")}))
    lines = summary(dataset)
    assert lines[0] == f"voc: 2 images, 2 boxes, 1 crowd, 2 classes ({tmp_path})"
    assert lines[1] == "  cat 1, dog 1"
    assert lines[2] == "1 box left out:"
    assert lines[3] == f"  {tmp_path / 'a.xml'}: a box must have an area above 0, got (1, 1, 1, 1)"
    document = summary_json(dataset)
    assert (document["images"], document["boxes"], len(document["problems"])) == (2, 3, 1)
