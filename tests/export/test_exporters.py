"""Every exporter, task and choice through the whole gate, with networks of a few layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from export.draft import ExportChoices
from export.exporters import export_subject
from export.graph import graph_bytes, inspect_graph, opset_of
from export.packaging import package_export
from export.subject import Scaling, Sizes
from export.trace import OPSET
from pipelines.errors import RecipeError
from pipelines.gate_replay import replay_grid
from pipelines.loader import load_package
from tests.export.subjects import (
    classification,
    classifier_net,
    detection,
    detector,
    embedding,
    image_spec,
    segmentation,
    subject,
)

QUICK = ExportChoices(exporters=("torchscript",))  # 0.2 s instead of 2 s; what is tested here is the same for both


def maps_net(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    net.add_module("last", nn.Conv2d(8, classes, 1))
    return net


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_classifier_passes_with_free_batch_height_and_width(exporter):
    good = subject(classifier_net(), sizes=Sizes(multiple_of=1, least=24))
    exported = export_subject(good, ExportChoices(exporters=(exporter,)))
    report = exported.reports[-1]
    assert report.passed, report.sentence
    assert report.dynamic == ("batch", "height", "width")
    assert report.compared > 0
    sizes = {result.case.size_hw for result in report.results}
    assert any(size and (size[0] % 2 or size[1] % 2) for size in sizes)
    assert {(one.runtime.optimization, one.runtime.threads) for one in report.results} == {
        (level, threads) for level in ("off", "basic", "all") for threads in (1, 2)
    }
    assert {result.case.batch for result in report.results} == {1, 2, 4}
    assert opset_of(exported.model) == OPSET


def test_own_rows_shorter_than_the_other_sizes_are_traced_by_dynamo():
    short = min(subject(classifier_net()).row_hw((64, 64)))
    good = subject(classifier_net(), sizes=Sizes(multiple_of=1, least=short + 8))
    exported = export_subject(good, ExportChoices(exporters=("dynamo",)))
    assert exported.reports[-1].passed, exported.reports[-1].sentence
    assert exported.reports[-1].dynamic == ("batch", "height", "width")


@pytest.mark.parametrize(
    ("make", "choices"),
    [
        (lambda: subject(classifier_net()), QUICK),
        (lambda: subject(classifier_net(), classification(top_k=4)), replace(QUICK, precision="fp16")),
        (detector, replace(QUICK, nms_in_graph=True)),
    ],
    ids=["float32", "float16", "suppression"],
)
def test_two_exports_are_equal_to_the_byte_and_name_no_local_path(make, choices):
    graphs = [graph_bytes(export_subject(make(), choices).model) for _ in range(2)]
    assert graphs[0] == graphs[1]
    assert str(torch.__path__[0]).encode() not in graphs[0]
    assert __file__.rsplit("/", 1)[0].encode() not in graphs[0]


def test_a_segmenter_passes_with_every_class_in_its_masks():
    good = subject(maps_net(), segmentation(), labels=("a", "b", "c"), scaling=Scaling(layers=("last",), balanced=True))
    report = export_subject(good, QUICK).reports[-1]
    assert report.passed, report.sentence
    assert report.coverage["classes"] == 3
    assert report.coverage["least_class_share"] >= 0.05


def test_an_embedder_passes():
    good = subject(classifier_net(classes=16), embedding(16), labels=())
    report = export_subject(good, QUICK).reports[-1]
    assert report.passed, report.sentence
    assert report.compared == sum(result.case.batch for result in report.results)


def test_a_detector_passes_at_several_sizes_with_enough_boxes_of_several_classes():
    report = export_subject(detector(sizes=Sizes(multiple_of=8, least=32)), QUICK).reports[-1]
    assert report.passed, report.sentence
    assert report.coverage["detections"] >= 20
    assert report.coverage["classes"] >= 2
    assert report.dynamic == ("batch", "height", "width")


def test_a_learnt_detector_is_compared_at_sizes_at_which_it_still_finds_something():
    learnt = replace(detector(sizes=Sizes(multiple_of=8, least=32)), scaling=None)
    sizes = {case.size_hw for case in export_subject(learnt, QUICK).plan.cases if case.size_hw}
    assert sizes == {(48, 72), (56, 48)}  # of rows of 64 x 96


def test_a_detector_with_suppression_in_its_graph_answers_as_the_host_does(tmp_path):
    good = detector()
    exported = export_subject(good, replace(QUICK, nms_in_graph=True))
    report = exported.reports[-1]
    assert report.passed, report.sentence
    assert exported.rewrites["nms_in_graph"] == 1
    inputs, outputs = inspect_graph(exported.model)
    assert inputs[0].shape[0] == "batch"
    assert [(spec.name, spec.shape) for spec in outputs] == [("detections", ("batch", 50, 6))]
    manifest = package_export(exported, good, tmp_path / "boxes")
    assert replay_grid(manifest, tmp_path / "boxes").compared > 100


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nms": None}, "suppression in a graph is hard and class by class"),
        ({"min_side": 2.0}, "min_side must be 0, it is 2.0"),
        ({"deltas_per": "column"}, "it decodes box_delta with one box an anchor, the head has box_delta"),
    ],
)
def test_a_head_that_no_graph_can_suppress_is_refused_with_the_reason(changes, reason):
    good = replace(detector(), head=detection(**changes), scaling=None)
    exported = export_subject(good, replace(QUICK, nms_in_graph=True))
    assert exported.model is None
    assert exported.reports[-1].problem is not None
    assert reason in exported.reports[-1].problem


def test_float16_passes_at_tolerances_of_its_own(tmp_path):
    good = subject(classifier_net(), classification(top_k=4))  # all four: no last place to tie for
    exported = export_subject(good, replace(QUICK, precision="fp16"))
    report = exported.reports[-1]
    assert report.passed, report.sentence
    assert report.precision == "fp16"
    assert report.tolerance.score > good.tolerance.score
    assert "float16 rounds to 11 significand bits" in report.tolerance.reason
    assert exported.rewrites["to_float16"] > 0
    package_export(exported, good, tmp_path / "half")


@pytest.mark.parametrize("task", ["boxes", "masks"])
def test_boxes_and_masks_pass_in_float16_at_its_tolerances(task):
    masks = subject(
        maps_net(), segmentation(), labels=("a", "b", "c"), scaling=Scaling(layers=("last",), balanced=True)
    )
    good = detector() if task == "boxes" else masks
    report = export_subject(good, replace(QUICK, precision="fp16")).reports[-1]
    assert report.passed, report.sentence
    assert report.compared > 0
    assert (report.tolerance.box_iou, report.tolerance.mask_iou) == (0.9, 0.9)


def test_float32_rows_can_be_kept():
    exported = export_subject(subject(classifier_net()), replace(QUICK, pixels="float32"))
    assert exported.draft.image == image_spec()
    assert "bake_input" not in exported.rewrites


def test_pixels_are_the_default_input():
    exported = export_subject(subject(classifier_net()), QUICK)
    assert inspect_graph(exported.model)[0][0].dtype == "uint8"
    assert exported.draft.image.in_graph == ("normalize",)


def test_the_exporter_that_passes_is_kept_and_the_other_is_named_with_its_problem():
    class Data(nn.Module):
        """Asks for a value on the way: what is recorded passes, what is captured with symbols does not."""

        def __init__(self) -> None:
            super().__init__()
            self.net = classifier_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) if x.sum() * 0 == 0 else self.net(x) + 1

    exported = export_subject(subject(Data(), scaling=Scaling(layers=("net.last",))), ExportChoices())
    first, second = exported.reports
    assert (first.exporter, first.passed) == ("dynamo", False)
    assert "torch cannot export this module (dynamo)" in first.sentence
    assert (second.exporter, second.passed) == ("torchscript", True)


def test_a_module_whose_sides_cannot_be_free_is_exported_at_its_own_size():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten())
    net.add_module("last", nn.Linear(4 * 4 * 6, 4))
    exported = export_subject(subject(net, sizes=Sizes(multiple_of=8, least=32)), QUICK)
    assert not exported.reports[0].passed
    assert exported.reports[-1].passed
    assert exported.reports[-1].dynamic == ("batch",)


def test_no_package_appears_where_no_export_passed(tmp_path):
    class Worse(nn.Module):
        """Answers something else while it is exported."""

        def __init__(self) -> None:
            super().__init__()
            self.net = classifier_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) + (1.0 if torch.onnx.is_in_onnx_export() else 0.0)

    good = subject(Worse(), scaling=Scaling(layers=("net.last",)))
    exported = export_subject(good, QUICK)
    with pytest.raises(RecipeError, match="no export passed the gate: torchscript: sample 0, batch 1, own size"):
        package_export(exported, good, tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_learnt_weights_are_neither_scaled_nor_asked_for_coverage():
    good = subject(classifier_net(), scaling=None)
    before = good.module.last.weight.detach().clone()
    report = export_subject(good, QUICK).reports[-1]
    assert report.passed, report.sentence
    assert report.scaled == ()
    np.testing.assert_array_equal(good.module.last.weight.detach(), before)


def test_a_package_holds_the_report_and_repeats_the_gate_without_torch(tmp_path):
    good = subject(classifier_net())
    manifest = package_export(export_subject(good, QUICK), good, tmp_path / "tiny")
    gate = manifest.provenance.parity["gate"]
    assert (gate["passed"], gate["exporter"], gate["decoded_compared"] > 0) == (True, "torchscript", True)
    assert "because: a few layers in float32" in (tmp_path / "tiny" / "gate" / "report.txt").read_text()
    assert {"gate/report.txt", "gate/expected.npz"} <= manifest.files.keys()
    assert manifest.golden.reference == "torch"
    load_package(tmp_path / "tiny").close()
    assert replay_grid(manifest, tmp_path / "tiny").compared > 0
