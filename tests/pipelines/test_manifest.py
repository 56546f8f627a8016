"""Manifests: round trip, the path of a bad key, the seal."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ManifestError, SealError
from pipelines.manifest import (
    MANIFEST_FILE,
    SEALED_KEYS,
    parse_manifest,
    read_manifest,
    seal_of,
    write_manifest,
)
from tests.builders import detection_head, image_spec, manifest, segmentation_head, yolo_grid


def raw_manifest(**over: Any) -> dict[str, Any]:
    raw: dict[str, Any] = manifest(**over).model_dump(mode="json")
    return raw


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    written = write_manifest(manifest(head=detection_head()), tmp_path)
    assert read_manifest(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_FILE]


def change_at(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(change_at("imagee", value=1), "imagee: Extra inputs are not permitted", id="unknown key"),
        pytest.param(
            change_at("head", "decoder", "strid", value=1), "head.decoder.strid: Extra", id="unknown key, deep"
        ),
        pytest.param(change_at("image", "scale", value="max"), "image.scale", id="unknown scale"),
        pytest.param(
            change_at("image", "mean", value=[1, 2]), "mean must have 3 values for rgb, got 2", id="two means"
        ),
        pytest.param(change_at("image", "std", 1, value=0), "image.std[1]: Input should be greater", id="zero std"),
        pytest.param(change_at("image", "std", 1, value=float("nan")), "image.std[1]", id="NaN std"),
        pytest.param(change_at("image", "fit", "kind", value="fill"), "image.fit", id="unknown fit"),
        pytest.param(change_at("image", "fit", "size_hw", 0, value=0), "image.fit.size_hw[0]", id="zero size"),
        pytest.param(
            change_at("image", "fit", "size_hw", 0, value="96"), "image.fit.size_hw[0]", id="text for a number"
        ),
        pytest.param(change_at("image", "dtype", value="uint8"), "dtype is uint8 if and only if", id="uint8 in numpy"),
        pytest.param(change_at("head", "task", value="caption"), "head: Input tag 'caption'", id="unknown task"),
        pytest.param(change_at("head", "score_threshold", value=1.5), "head.score_threshold", id="threshold above one"),
        pytest.param(change_at("head", "decoder", "heatmap", value="x"), "head names output 'x'", id="unknown output"),
        pytest.param(change_at("version", value=0), "version", id="version zero"),
        pytest.param(change_at("version", value=True), "version", id="version true"),
        pytest.param(change_at("name", value="../up"), "name", id="name with a path"),
        pytest.param(change_at("schema_version", value=2), "schema_version", id="another schema"),
        pytest.param(change_at("files", "model.onnx", value="abc"), "files.model.onnx", id="short checksum"),
        pytest.param(change_at("golden", "samples", value=[]), "golden.samples", id="no samples"),
        pytest.param(
            change_at("golden", "tolerance", "raw", "CPUExecutionProvider", "atol", value=0), "atol", id="atol 0"
        ),
    ],
)
def test_a_bad_key_is_named_with_its_path(change: Callable[[dict[str, Any]], None], words: str) -> None:
    raw = raw_manifest(head=detection_head())
    change(raw)
    with pytest.raises(ManifestError) as caught:
        parse_manifest(raw)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    raw = raw_manifest()
    del raw["image"]["color"]
    with pytest.raises(ManifestError, match=r"image\.color: Field required"):
        parse_manifest(raw)


@pytest.mark.parametrize(
    ("head", "image", "words"),
    [
        pytest.param(
            segmentation_head(),
            {"kind": "center_crop", "size_hw": [9, 9], "resize_shorter": 9, "size_rounding": "floor"},
            "segmentation needs a fit that keeps the whole image",
            id="segmentation of a crop",
        ),
        pytest.param(
            detection_head(),
            {"kind": "center_crop", "size_hw": [9, 9], "resize_shorter": 8, "size_rounding": "floor"},
            "resize_shorter must be at least 9, got 8",
            id="crop larger than the resized image",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_refused(head: Any, image: dict[str, Any], words: str) -> None:
    raw = raw_manifest(head=head)
    raw["image"]["fit"] = {**image, "offset_rounding": "floor"}
    with pytest.raises(ManifestError, match=words):
        parse_manifest(raw)


def test_yolo_scales_must_be_equally_many() -> None:
    raw = raw_manifest(head=detection_head(decoder=yolo_grid()))
    raw["head"]["decoder"]["strides"] = [8, 16]
    with pytest.raises(ManifestError, match="outputs, strides and anchors must be equally many, got 1, 2, 1"):
        parse_manifest(raw)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "is not JSON", id="empty"),
        pytest.param("{", "is not JSON", id="cut"),
        pytest.param("[]", "must hold a JSON object, got list", id="list"),
        pytest.param("[" * 100_000, "is not JSON", id="deep nesting"),
        pytest.param('{"a": 1}', "a: Extra inputs are not permitted", id="not a manifest"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(ManifestError, match=words):
        read_manifest(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="is not JSON"):
        read_manifest(tmp_path)


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST_FILE)
    with pytest.raises(ManifestError, match=r"manifest\.json must be a regular file, it is something else"):
        read_manifest(tmp_path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json cannot be read: No such file"):
        read_manifest(tmp_path)


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST_FILE).open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ManifestError, match="must be at most 16,777,216 bytes, got 1,073,741,824"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("image", "mean", 0), 0.5, id="image"),
        pytest.param(("head", "top_k"), 6, id="head"),
        pytest.param(("labels", 0), "cat", id="labels"),
        pytest.param(("inputs", 0, "shape", 2), 96, id="inputs"),
        pytest.param(("outputs", 0, "shape", 1), "classes", id="outputs"),
    ],
)
def test_any_edited_recipe_is_refused_by_the_seal(tmp_path: Path, path: tuple[str | int, ...], value: Any) -> None:
    write_manifest(manifest(), tmp_path)
    raw = json.loads((tmp_path / MANIFEST_FILE).read_text())
    change_at(*path, value=value)(raw)
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(raw))
    with pytest.raises(SealError, match="recipe changed"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, check_seal=False).name == "tiny"


def test_the_seal_does_not_depend_on_order_or_space_and_covers_the_recipe_only() -> None:
    raw = raw_manifest()
    turned = json.loads(json.dumps(dict(reversed(raw.items())), indent=3))
    turned["description"] = "told anew"
    assert seal_of(turned) == seal_of(raw)
    assert set(SEALED_KEYS) == {"image", "head", "labels", "inputs", "outputs"}


def test_image_max_cannot_be_in_the_graph() -> None:
    with pytest.raises(ValueError, match="'image_max' cannot be in the graph"):
        image_spec(dtype="uint8", in_graph=("normalize",), scale="image_max")
