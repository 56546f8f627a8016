"""The gate repeated from a package alone; the package is made by torch once, then damaged in copies."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import ocella
from pipelines.errors import GoldenMismatchError, PackageError
from pipelines.gate_replay import GATE_RECORD, has_grid, replay_grid
from pipelines.grid import RUNTIMES
from pipelines.manifest import GRAPH_FILE, read_manifest

pytest.importorskip("torch", reason="the export extra makes the package that is repeated")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from export.draft import ExportChoices
    from export.exporters import export_subject
    from export.packaging import package_export
    from export.subject import Sizes
    from tests.export.subjects import classifier_net, subject

    good = subject(classifier_net(), sizes=Sizes(multiple_of=1, least=24))
    folder = tmp_path_factory.mktemp("gate") / "tiny"
    package_export(export_subject(good, ExportChoices(exporters=("torchscript",))), good, folder)
    return folder


@pytest.fixture
def package(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "tiny")


def test_every_case_runs_again_in_every_way(package):
    manifest = read_manifest(package)
    report = replay_grid(manifest, package)
    assert report.cases == len(manifest.provenance.parity["gate"]["grid"]) == 13
    assert report.runtimes == len(RUNTIMES)
    assert report.compared > 0
    assert report.raw_ratio < 1


def test_verify_says_what_was_repeated(package, capsys):
    assert ocella.main(["verify", str(package)]) == 0
    assert "gate repeated: 13 cases in 6 ways" in capsys.readouterr().out


def test_a_graph_that_is_wrong_at_other_sizes_alone_is_named_with_its_case(package):
    path = package / GRAPH_FILE
    model = onnx.load(path)
    pool = next(node for node in model.graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean"))
    # The mean over the traced map of 16 x 24 cells instead of the map that there is.
    kept = onnx.helper.make_node("ReduceSum", [pool.input[0], "axes"], ["sum"], keepdims=1)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(16 * 24), "cells"))
    divided = onnx.helper.make_node("Div", ["sum", "cells"], [pool.output[0]])
    place = list(model.graph.node).index(pool)
    model.graph.node.remove(pool)
    model.graph.node.insert(place, kept)
    model.graph.node.insert(place + 1, divided)
    onnx.save(model, path)
    with pytest.raises(GoldenMismatchError, match=r"gate, sample 0, batch 1, \d+x\d+; optimisation all, 1 thread: raw"):
        replay_grid(read_manifest(package), package)


def test_a_record_that_is_none_is_refused(package):
    (package / GATE_RECORD).write_bytes(b"nothing")
    with pytest.raises(PackageError, match="is not a record of the gate"):
        replay_grid(read_manifest(package), package)


def test_samples_recorded_anew_are_not_held_to_the_old_gate(package):
    manifest = read_manifest(package)
    anew = manifest.golden.model_copy(update={"reference": "onnxruntime"})
    assert has_grid(manifest)
    assert not has_grid(manifest.model_copy(update={"golden": anew}))
