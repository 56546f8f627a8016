import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.graph import graph_bytes
from export.package import PackageDraft, Sample, npz_bytes, write_package
from pipelines.errors import GoldenMismatchError, PackageError
from pipelines.loader import load_package
from pipelines.manifest import GoldenOptions, Provenance, read_manifest
from pipelines.session import OnnxSession
from tests.builders import classification_head, golden_tolerance, image_spec, labels_of
from tests.graphs import classifier_graph
from tests.packages import photo, png

GRAPH = graph_bytes(classifier_graph())


def draft(**over: Any) -> PackageDraft:
    head = classification_head()
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": 3,
        "description": "ten classes",
        "license": "CC0-1.0",
        "source": "tests",
        "image": image_spec(),
        "head": head,
        "labels": labels_of(head),
        "provenance": Provenance(tools={"onnx": "1"}, opset=18, metrics={}, parity=None),
        "reference": "onnxruntime",
        "recorded_with": {"onnxruntime": "1"},
        "options": (GoldenOptions(score_threshold=None, iou_threshold=None),),
        "tolerance": golden_tolerance(),
    }
    return PackageDraft(**(fields | over))


def sample(name: str = "face", **over: Any) -> Sample:
    return Sample(name, png(photo()), **over)


def recorded(folder: Path) -> dict[str, Any]:
    """The record of a package of one sample, recorded with onnxruntime."""
    write_package(folder, draft(), graph=GRAPH, samples=[sample()])
    with np.load(folder / "golden" / "face.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_a_written_package_loads_with_every_check(tmp_path: Path) -> None:
    manifest = write_package(tmp_path / "tiny" / "3", draft(), graph=GRAPH, samples=[sample()])
    with load_package(tmp_path) as model:
        assert model.manifest == manifest == read_manifest(tmp_path / "tiny" / "3")
    assert sorted(manifest.files) == ["golden/face.npz", "golden/face.png", "model.onnx"]
    assert (manifest.name, manifest.version, manifest.license) == ("tiny", 3, "CC0-1.0")


def test_inputs_and_outputs_are_those_of_the_graph(tmp_path: Path) -> None:
    manifest = write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample()])
    with OnnxSession(tmp_path / "p" / "model.onnx") as session:
        assert (manifest.inputs, manifest.outputs) == (session.inputs, session.graph_outputs)


def test_nothing_but_the_package_is_left_beside_it(tmp_path: Path) -> None:
    write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample()])
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample()])
    with pytest.raises(PackageError, match="p exists already"):
        write_package(tmp_path / "p", draft(description="new"), graph=GRAPH, samples=[sample()])
    assert read_manifest(tmp_path / "p").description == "ten classes"


def test_a_package_is_replaced_whole_when_asked(tmp_path: Path) -> None:
    write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample(), sample("second")])
    write_package(tmp_path / "p", draft(description="new"), graph=GRAPH, samples=[sample()], replace=True)
    assert read_manifest(tmp_path / "p").description == "new"
    assert [path.name for path in (tmp_path / "p" / "golden").glob("second*")] == []
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_reference_that_the_graph_does_not_reproduce_leaves_nothing(tmp_path: Path) -> None:
    record = recorded(tmp_path / "good")
    record["raw/logits/values"] = record["raw/logits/values"] + 1
    with pytest.raises(GoldenMismatchError, match="raw outputs differ"):
        write_package(tmp_path / "bad", draft(reference="upstream"), graph=GRAPH, samples=[sample(record=record)])
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_failed_replacement_keeps_the_old_package(tmp_path: Path) -> None:
    record = recorded(tmp_path / "p")
    record["row_values"] = 255 - record["row_values"]
    with pytest.raises(GoldenMismatchError, match="pixels differ"):
        write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample(record=record)], replace=True)
    load_package(tmp_path / "p").close()


def test_samples_without_a_record_come_from_the_reference(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(graph_bytes(classifier_graph(seed=9)))
    closed = []

    class Reference(OnnxSession):
        def close(self) -> None:
            closed.append(True)
            super().close()

    with pytest.raises(GoldenMismatchError, match="raw outputs differ"):  # another network's answers
        write_package(
            tmp_path / "p",
            draft(),
            graph=GRAPH,
            samples=[sample()],
            reference=lambda: Reference(tmp_path / "other.onnx"),
        )
    assert closed == [True]


def test_samples_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"different names, got .'face', 'face'."):
        write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample(), sample()])


def test_two_writes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_package(tmp_path / name, draft(), graph=GRAPH, samples=[sample()])
    files = ["manifest.json", "model.onnx", "golden/face.png", "golden/face.npz"]
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_the_manifest_is_readable_json(tmp_path: Path) -> None:
    write_package(tmp_path / "p", draft(), graph=GRAPH, samples=[sample()])
    raw = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert raw["schema_version"] == 1
    assert raw["golden"]["tolerance"]["reason"]


def test_records_hold_no_pickles() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_bytes({"bad": np.array([object()])})
