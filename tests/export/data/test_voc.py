from pathlib import Path

import pytest

from export.data.collect import ReadOptions
from export.data.dataset import DatasetError
from export.data.voc import parse_xml, read_voc
from tests import datasets

BOMB = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>'


def reasons(root: Path, **options: object) -> list[str]:
    return [problem.reason for problem in read_voc(root, ReadOptions(**options)).problems]


def test_classes_are_the_names_that_occur(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object("dog"), "b": datasets.voc_object("cat")})
    dataset = read_voc(root, ReadOptions())
    assert dataset.labels == ("cat", "dog")
    assert dataset.counts() == {"cat": 1, "dog": 1}


def test_a_class_that_the_given_labels_do_not_have_is_named(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object("dog") + datasets.voc_object("cat")})
    assert reasons(root, labels=("cat",)) == ["the class must be one of cat, got 'dog'"]


def test_a_difficult_object_is_a_crowd(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object(difficult=1)})
    assert read_voc(root, ReadOptions()).samples[0].target.crowd.tolist() == [True]


def test_entities_are_refused_before_they_expand(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object(), "b": ""})
    (root / "b.xml").write_bytes(BOMB)
    assert reasons(root) == ["XML must define no document type or entities"]
    with pytest.raises(ValueError, match="no document type"):
        parse_xml(BOMB)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<annotation>", "well-formed"),
        (b"", "well-formed"),
        (b"<annotation>\xff</annotation>", "well-formed"),
        (b"<html/>", "root must be <annotation>"),
        (b'<?xml version="1.0" encoding="made-up"?><annotation/>', "well-formed"),
    ],
)
def test_a_broken_file_is_named(data: bytes, reason: str, tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object(), "b": ""})
    (root / "b.xml").write_bytes(data)
    (found,) = reasons(root)
    assert reason in found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<object><name>cat</name></object>", "must have a bndbox"),
        (datasets.voc_object(box=("x", 1, 2, 3)), "could not convert"),
        (datasets.voc_object(name=""), "must have a name"),
    ],
)
def test_a_broken_object_is_named(text: str, reason: str, tmp_path: Path):
    (found,) = reasons(datasets.voc(tmp_path, {"a": datasets.voc_object() + text}))
    assert reason in found


def test_two_files_of_one_image_are_named(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": datasets.voc_object()})
    (root / "b.xml").write_text((root / "a.xml").read_text())
    (found,) = reasons(root)
    assert "each image must have one XML file" in found


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path):
    outside = datasets.write_image(tmp_path / "outside.png")
    root = datasets.voc(tmp_path / "in", {"a": datasets.voc_object()})
    text = (root / "a.xml").read_text().replace("a.png", "../outside.png")
    (root / "a.xml").write_text(text)
    dataset = read_voc(root, ReadOptions())
    assert dataset.samples[0].path == root / "a.png" != outside


def test_the_layout_of_the_challenge_is_read(tmp_path: Path):
    flat = datasets.voc(tmp_path / "flat", {"a": datasets.voc_object()})
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    (flat / "a.xml").rename(tmp_path / "voc" / "Annotations" / "a.xml")
    (flat / "a.png").rename(tmp_path / "voc" / "JPEGImages" / "a.png")
    assert len(read_voc(tmp_path / "voc", ReadOptions())) == 1


def test_a_folder_without_an_image_that_can_be_used_is_refused(tmp_path: Path):
    root = datasets.voc(tmp_path, {"a": ""})
    (root / "a.xml").write_text("<oops")
    with pytest.raises(DatasetError, match="at least one image that can be used as voc; the first that was skipped"):
        read_voc(root, ReadOptions())
