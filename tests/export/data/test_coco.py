import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from skimage.draw import polygon2mask

from export.data.coco import read_coco, read_coco_masks
from export.data.collect import ReadOptions
from export.data.dataset import IGNORED, DatasetError
from tests import datasets
from tests.datasets import annotation

TRIANGLE = [10.0, 5.0, 40.0, 8.0, 22.0, 33.0]
HW = datasets.SIZE_WH[::-1]


def reasons(root: Path) -> list[str]:
    return [problem.reason for problem in read_coco(root, ReadOptions()).problems]


def test_categories_are_classes_in_the_order_of_their_ids(tmp_path: Path):
    dataset = read_coco(datasets.coco(tmp_path, [annotation(category=30)], num_images=2), ReadOptions())
    assert dataset.labels == ("cat", "dog")
    assert dataset.category_ids == (7, 30)
    assert dataset.samples[0].target.class_ids.tolist() == [1]
    assert [sample.image_id for sample in dataset.samples] == [1, 2]
    assert len(dataset.samples[1].target) == 0


def test_crowds_and_stated_areas_are_kept(tmp_path: Path):
    root = datasets.coco(tmp_path, [annotation(iscrowd=1), annotation(2, area=123.5)])
    target = read_coco(root, ReadOptions()).samples[0].target
    assert target.crowd.tolist() == [True, False]
    assert target.areas.tolist() == [350.0, 123.5]


def test_an_object_without_a_box_gets_the_bounds_of_its_outline(tmp_path: Path):
    root = datasets.coco(tmp_path, [annotation(bbox=None, segmentation=[TRIANGLE])])
    assert read_coco(root, ReadOptions()).samples[0].target.boxes.tolist() == [[10, 5, 40, 33]]


def test_a_painted_polygon_is_scikit_images_up_to_its_edge(tmp_path: Path):
    root = datasets.coco(tmp_path, [annotation(segmentation=[TRIANGLE])])
    painted = read_coco_masks(root, ReadOptions()).samples[0].target.class_map()
    corners = np.array(TRIANGLE).reshape(-1, 2)[:, ::-1] - 0.5  # y, x; a pixel's centre is at a whole number there
    wanted = polygon2mask(HW, corners)
    assert painted.dtype == np.uint8
    different = np.logical_xor(painted == 1, wanted).sum()
    assert different <= 45  # OpenCV also takes every pixel that the outline of 88 px touches: half of it is outside
    assert not (wanted & (painted == 0)).any()


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_are_pycocotools(compressed: bool, tmp_path: Path):
    wanted = datasets.square()
    encoded = coco_masks.encode(np.asfortranarray(wanted))
    runs = [10 * 40 + 10, *[20, 20] * 19, 20]
    runs.append(wanted.size - sum(runs))
    counts = encoded["counts"].decode() if compressed else runs
    root = datasets.coco(tmp_path, [annotation(segmentation={"size": list(HW), "counts": counts})])
    np.testing.assert_array_equal(read_coco_masks(root, ReadOptions()).samples[0].target.class_map(), wanted)


def test_the_smaller_object_lies_on_top_and_crowds_do_not_count(tmp_path: Path):
    whole, part, crowd = (
        [[x, y, x + s, y, x + s, y + s, x, y + s]] for x, y, s in ((5, 5, 30), (10, 10, 8), (40, 5, 10))
    )
    rows = [
        annotation(1, category=7, segmentation=part),
        annotation(2, category=30, segmentation=whole),
        annotation(3, category=7, segmentation=crowd, iscrowd=1),
    ]
    dataset = read_coco_masks(datasets.coco(tmp_path, rows), ReadOptions())
    painted = dataset.samples[0].target.class_map()
    assert dataset.labels == ("background", "cat", "dog")
    assert (painted[14, 14], painted[25, 25], painted[9, 45], painted[0, 0]) == (1, 2, IGNORED, 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (annotation(image=9), "must be of a listed image, got 9"),
        (annotation(category=8), "must be of a listed category, got 8"),
        (annotation(category=None), "must be of a listed category, got None"),
        (annotation(bbox=[1, 2, 3]), r"bbox must be [x, y, width, height]"),
        (annotation(bbox=["a", 2, 3, 4]), r"bbox must be [x, y, width, height]"),
        (annotation(bbox=None), "must have a bbox, or an outline"),
        (annotation(segmentation=[[1, 2, 3, 4]]), "a polygon must be 3 or more points"),
        (annotation(segmentation={"size": [1, 1], "counts": [1]}), "its image's size [40, 60]"),
        (annotation(segmentation={"size": [40, 60], "counts": [7]}), "sum to 40 x 60"),
        (annotation(segmentation={"size": [40, 60], "counts": "~"}), "run lengths must be"),
        (annotation(segmentation="mask"), "must be polygons or run lengths"),
    ],
)
def test_a_broken_annotation_is_named(row: dict, reason: str, tmp_path: Path):
    (found,) = reasons(datasets.coco(tmp_path, [annotation(90), row]))
    assert reason in found


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"images": [{"id": 1, "file_name": "1.png"}] * 2}, "images must have each id once, 1 is there twice"),
        ({"images": [{"id": 1, "file_name": "../../secret.png"}]}, "must stay inside"),
        ({"images": [{"id": 1}]}, "must stay inside"),
        ({"images": [{"id": "1", "file_name": "1.png"}]}, "whole number as id, got '1'"),
        ({"images": {}}, "images must be a list of objects"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}, "name each category once"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(over: dict, reason: str, tmp_path: Path):
    with pytest.raises(DatasetError, match=reason):
        read_coco(datasets.coco(tmp_path, [annotation()], **over), ReadOptions())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "must be JSON"),
        (b"\xff\xfe", "text in UTF-8"),
        (b"[]", "a JSON object with images"),
        (b"[" * 99_999, "JSON"),
    ],
)
def test_what_is_no_coco_file_is_refused(data: bytes, reason: str, tmp_path: Path):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DatasetError, match=reason):
        read_coco(tmp_path, ReadOptions())


def test_a_file_name_listed_twice_is_named(tmp_path: Path):
    images = [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "1.png"}]
    (found,) = reasons(_with(datasets.coco(tmp_path, [annotation()], num_images=2), images))
    assert found == "each image must be listed once, 1.png is there twice"


def _with(root: Path, images: list[dict]) -> Path:
    document = json.loads((root / "instances.json").read_text())
    (root / "instances.json").write_text(json.dumps(document | {"images": images}))
    return root


def test_two_json_files_are_refused(tmp_path: Path):
    datasets.coco(tmp_path, [annotation()])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DatasetError, match="one JSON file"):
        read_coco(tmp_path, ReadOptions())


def test_boxes_are_in_the_image_as_it_is_shown(tmp_path: Path):
    root = datasets.coco(tmp_path, [annotation(bbox=[5, 45, 20, 14])])
    datasets.write_rotated(root / "images" / "1.jpg")
    (root / "images" / "1.png").unlink()
    dataset = read_coco(_with(root, [{"id": 1, "file_name": "1.jpg"}]), ReadOptions(on_error="refuse"))
    assert dataset.samples[0].size_hw == (60, 40)
    assert dataset.samples[0].target.boxes.tolist() == [[5, 45, 25, 59]]


@pytest.mark.parametrize("images", ["train2017", "images/train2017"])
def test_the_layout_of_coco_itself_is_read(images: str, tmp_path: Path):
    root = datasets.coco(tmp_path, [annotation()], num_images=2)
    (root / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (root / "annotations" / f"instances_{split}.json").write_bytes((root / "instances.json").read_bytes())
        datasets.write_image(root / Path(images).parent / split / "1.png", size_wh=(30, 20))
    (root / "images" / "1.png").unlink()
    dataset = read_coco(root / "annotations" / "instances_train2017.json", ReadOptions())
    assert [sample.path for sample in dataset.samples] == [root / images / "1.png", root / "images" / "2.png"]
