from pathlib import Path

import pytest
from sklearn.datasets import load_digits

from export.data.dataset import DatasetError
from export.data.detect_format import read_dataset
from export.data.published import PUBLISHED, fetch_published, undamaged
from pipelines.image import decode_image

SIZES = {  # images, and objects of all classes, in train and test
    "digits": ((1442, 1442), (355, 355)),
    "trees": ((3, 672), (1, 279)),
    "orl-faces": ((300, 300), (100, 100)),
    "nuclei": ((1, 0), (1, 0)),
}


def test_every_file_of_a_wheel_is_pinned():
    assert [len(entry.members()) for entry in PUBLISHED.values()] == [0, 8, 400, 2]
    for entry in PUBLISHED.values():
        assert all(len(member.sha256) == 64 and member.size > 0 for member in entry.members())


def test_an_unknown_name_is_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="no published data set 'cats', there are digits, trees"):
        fetch_published("cats", tmp_path, report=print)


def test_digits_are_scikit_learns_and_a_damaged_file_is_made_anew(tmp_path: Path):
    lines: list[str] = []
    folder = fetch_published("digits", tmp_path, report=lines.append)
    first = folder / "train" / "0" / "000.png"
    pixels = decode_image(first.read_bytes(), exif="apply", alpha="white")[..., 0]
    digits = load_digits()
    assert (pixels / (255 / 16)).round().tolist() == digits.images[digits.target == 0][0].tolist()
    fetch_published("digits", tmp_path, report=lines.append)
    assert lines[-1] == f"already there: {folder}"
    first.unlink()
    assert not undamaged(folder)
    fetch_published("digits", tmp_path, report=lines.append)
    assert undamaged(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_data_is_read_whole(name: str, tmp_path: Path):
    folder = fetch_published(name, tmp_path, report=lambda _: None)
    for split, (images, objects) in zip(("train", "test"), SIZES[name], strict=True):
        dataset = read_dataset(folder / split, format_=PUBLISHED[name].format)
        assert (len(dataset), sum(dataset.counts().values()), dataset.problems) == (images, objects, ())
