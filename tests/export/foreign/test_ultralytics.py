from pathlib import Path

import onnx
import pytest

from export.doctor.report import verdict
from export.foreign.ultralytics import read_metadata, said_by
from pipelines.errors import GraphMismatchError
from tests.export.doctor.diagnoses import at_size, diagnosis_of
from tests.graphs import classifier_graph, dfl_graph
from tests.listed_graphs import end_to_end_graph

NAMES = str({i: f"name {i}" for i in range(10)})
DETECT = {"task": "detect", "names": NAMES, "stride": "32", "imgsz": "[96, 128]", "batch": "1"}


def with_metadata(model: onnx.ModelProto, **properties: str) -> onnx.ModelProto:
    onnx.helper.set_model_props(model, properties)
    return model


def test_a_file_without_its_keys_is_none_of_theirs() -> None:
    assert read_metadata({"names": NAMES}) is None
    assert read_metadata({}) is None


def test_metadata_is_read_as_data() -> None:
    found = read_metadata({**DETECT, "task": "pose", "kpt_shape": "[17, 3]", "license": "AGPL-3.0"})
    assert found is not None
    assert (found.task, found.size_hw, found.keypoints, found.license) == ("pose", (96, 128), (17, 3), "AGPL-3.0")
    assert found.names[9] == "name 9"


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("names", "__import__('os').system('true')", "names must be a Python literal"),
        ("names", "{0: 'a', 2: 'b'}", "numbered from 0 without a gap"),
        ("names", "{0: 1}", "names must be texts"),
        ("names", "[" * 500_000, "names must be a Python literal"),
        ("names", " " * 1_000_001, "at most 1,000,000 characters"),
        ("names", "{}", "names must be texts"),
        ("imgsz", "[0, 640]", "imgsz must be height and width"),
        ("imgsz", "'big'", "imgsz must be height and width"),
        ("kpt_shape", "[17]", "kpt_shape must be"),
        ("kpt_shape", "[17, 9]", "kpt_shape must be"),
        ("task", "conquer", "task must be one of detect"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(key: str, text: str, problem: str) -> None:
    with pytest.raises(GraphMismatchError, match=problem):
        read_metadata({**DETECT, key: text})


def test_detectors_are_letterboxed_on_gray_and_divided_by_255() -> None:
    found = read_metadata(DETECT)
    assert found is not None
    feed = said_by(found, fixed_hw=None, layout="chw").feed
    assert (feed["fit"], feed["pad_value"], feed["stats"], feed["color"]) == ("letterbox", 114, "unit", "rgb")
    assert feed["size"] == "96x128"


def test_the_graphs_own_size_comes_before_the_metadatas() -> None:
    found = read_metadata(DETECT)
    assert found is not None
    assert said_by(found, fixed_hw=(64, 64), layout="chw").feed["size"] == "64x64"


def test_a_detector_with_metadata_is_without_doubt(tmp_path: Path) -> None:
    diagnosis = diagnosis_of(with_metadata(at_size(dfl_graph(form="decoded")), **DETECT), tmp_path)
    assert diagnosis.certain is not None, verdict(diagnosis)
    manifest = diagnosis.certain.manifest
    assert manifest.head.decoder.layout.form == "decoded"
    assert manifest.labels[0] == "name 0"
    assert (manifest.image.fit.kind, manifest.image.fit.pad_value, manifest.image.scale) == ("letterbox", 114, 255.0)


def test_an_angle_is_read_where_the_metadata_says_that_boxes_turn(tmp_path: Path) -> None:
    graph = with_metadata(at_size(dfl_graph(form="decoded", extras=1)), **{**DETECT, "task": "obb"})
    certain = diagnosis_of(graph, tmp_path).certain
    assert certain is not None
    assert certain.manifest.head.decoder.extra.extra == "angle"


def test_masks_are_read_from_their_prototypes(tmp_path: Path) -> None:
    graph = with_metadata(at_size(dfl_graph(form="decoded", extras=4, prototypes=4)), **{**DETECT, "task": "segment"})
    certain = diagnosis_of(graph, tmp_path).certain
    assert certain is not None
    assert certain.manifest.head.decoder.extra.num == 4


def test_final_detections_take_their_classes_from_the_metadata(tmp_path: Path) -> None:
    names = str({i: f"name {i}" for i in range(20)})
    graph = with_metadata(at_size(end_to_end_graph()), **{**DETECT, "names": names, "end2end": "True"})
    certain = diagnosis_of(graph, tmp_path).certain
    assert certain is not None
    assert certain.manifest.head.decoder.num_classes == 20
    assert certain.manifest.head.nms is None


def test_a_classifier_with_metadata_rules_other_tasks_out(tmp_path: Path) -> None:
    graph = with_metadata(at_size(classifier_graph()), **{**DETECT, "task": "classify", "imgsz": "[96, 96]"})
    diagnosis = diagnosis_of(graph, tmp_path)
    assert [one.proposal.head["task"] for one in diagnosis.readings] == ["classification"]
    assert diagnosis.readings[0].manifest.labels[3] == "name 3"
