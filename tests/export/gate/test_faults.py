"""Faults put into an export on purpose: the gate must refuse each one and name it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from export.comparison import decoded_samples, gate_plan, reference_of, scale_random
from export.draft import INPUT, ExportChoices, draft_of
from export.gate.report import GateReport
from export.gate.run import Candidate, run_gate
from export.graph import graph_bytes, inspect_graph
from export.package import draft_manifest
from export.passes.bake_input import bake_input
from export.passes.nms_in_graph import nms_in_graph
from export.subject import Scaling, Sizes, Subject
from export.trace import TraceSpec, trace_with
from tests.export.subjects import SIZE_HW, classification, classifier_net, detector, image_spec, subject

FLOAT_ROWS = ExportChoices(pixels="float32")
SIGMOID = classification(activation="none", score_threshold=0.1, top_k=4)


def traced(module: nn.Module, *, free_sides: bool = False, training: bool = False) -> onnx.ModelProto:
    """Export by recording one run: this exporter takes every fault in silence."""
    spec = TraceSpec(
        row_shape=(3, *SIZE_HW), input_name=INPUT, output_names=("y",), size_multiple=1 if free_sides else None
    )
    return trace_with("torchscript", _Stubborn(module) if training else module, spec)


class _Stubborn(nn.Module):
    """Stays in train mode whatever the exporter says."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inner.train()
        answer = self.inner(x)
        self.inner.eval()
        return answer


def judge(good: Subject, graph: onnx.ModelProto, choices: ExportChoices = FLOAT_ROWS) -> GateReport:
    """The gate's report on ``graph`` as an export of ``good``, whose weights must be scaled already."""
    images, draft = decoded_samples(good), draft_of(good, choices)
    sizes = ((40, 33), (24, 70)) if good.sizes.multiple_of else ()
    plan = gate_plan(good, images, sizes=sizes, choices=choices, scaled=())
    candidate = Candidate(
        manifest=draft_manifest(draft, *inspect_graph(graph)), graph=graph_bytes(graph), exporter="faulty"
    )
    return run_gate(reference_of(good, draft), candidate, plan).report


def scaled(good: Subject) -> Subject:
    """The subject with its random weights scaled, so that it answers different classes."""
    scale_random(good, reference_of(good, draft_of(good, FLOAT_ROWS)).manifest, decoded_samples(good))
    return good


@pytest.fixture(scope="module")
def good() -> Subject:
    return scaled(subject(classifier_net()))


class _After(nn.Module):
    """A module with a function after it."""

    def __init__(self, inner: nn.Module, function) -> None:
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x):
        return self.function(x, self.inner)


def test_the_export_without_a_fault_passes(good):
    report = judge(good, traced(good.module))
    assert report.passed, report.sentence
    assert report.diagnosis == ()


def test_a_traced_batch_constant_is_named(good):
    # int() makes the batch of the example, 2, a constant of the graph.
    faulty = _After(good.module, lambda x, inner: inner(x.reshape(int(x.shape[0]), *x.shape[1:])))
    report = judge(good, traced(faulty))
    assert not report.passed
    assert "a batch size is a constant of the graph: it agrees at batch 2 of 1, 2, 3, 4 alone" in report.diagnosis


def test_a_size_dependent_constant_is_named():
    # The sum over all pixels, divided by their number: the model's own, which is free, or the one of the traced size.
    def mean_of(area):
        return lambda x, inner: inner(x) + x.sum((1, 2, 3))[:, None] / (3 * area(x)) * torch.arange(4)

    inner = classifier_net()
    truth = scaled(
        subject(
            _After(inner, mean_of(lambda x: x.shape[2] * x.shape[3])),
            sizes=Sizes(multiple_of=1, least=24),
            scaling=Scaling(layers=("inner.last",)),
        )
    )
    frozen = _After(inner, mean_of(lambda x: int(x.shape[2]) * int(x.shape[3])))
    report = judge(truth, traced(frozen, free_sides=True))
    assert not report.passed
    assert "a size is a constant of it: it agrees at its own size alone" in report.diagnosis


def test_swapped_classes_are_named(good):
    order = [0, 2, 1, 3]
    report = judge(good, traced(_After(good.module, lambda x, inner: inner(x)[:, order])))
    assert not report.passed
    assert "classes are swapped in output 'y', axis 1: 1 holds 2, 2 holds 1" in report.diagnosis


def test_a_missing_sigmoid_is_named(good):
    truth = replace(good, module=nn.Sequential(good.module, nn.Sigmoid()), head=SIGMOID)
    report = judge(truth, traced(good.module))
    assert not report.passed
    assert "a sigmoid is missing at the end of output 'y'" in report.diagnosis


def test_the_wrong_channel_order_is_named(good):
    report = judge(good, traced(_After(good.module, lambda x, inner: inner(x.flip(1)))))
    assert not report.passed
    assert "the colour channels are in the wrong order: with them turned around it agrees" in report.diagnosis


def test_the_wrong_channel_order_of_a_baked_graph_is_named(good):
    # The packing of colours is the package's own: the reference keeps the recipe that the model was trained with.
    alike = image_spec(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    truth = scaled(subject(classifier_net(), image=alike))
    graph = bake_input(traced(_After(truth.module, lambda x, inner: inner(x.flip(1)))), alike).model
    report = judge(truth, graph, ExportChoices(pixels="uint8"))
    assert not report.passed
    assert "the colour channels are in the wrong order: with them turned around it agrees" in report.diagnosis


def test_batch_norm_in_train_mode_is_named(good):
    without_dropout = copy.deepcopy(good.module)
    without_dropout.drop = nn.Identity()
    report = judge(good, traced(without_dropout, training=True))
    assert not report.passed
    named = "rows of a batch change each other: batch-norm is in train mode (1 nodes, the first BatchNormalization"
    assert any(text.startswith(named) for text in report.diagnosis)


def test_a_dropout_that_is_left_on_in_the_graph_is_named(good):
    report = judge(good, traced(_After(good.module, lambda x, inner: F.dropout(inner(x), 0.5, training=True))))
    assert not report.passed
    assert any("a dropout is left on" in text for text in report.diagnosis)


def test_a_dropout_that_is_left_on_in_the_model_itself_is_named(good):
    truth = replace(good, module=_After(good.module, lambda x, inner: F.dropout(inner(x), 0.5, training=True)))
    report = judge(truth, traced(good.module))
    assert report.problem is not None
    assert "the torch model itself fails: it answers the same rows differently, as a dropout" in report.problem


def test_batch_norm_without_running_statistics_in_the_model_itself_is_named(good):
    module = copy.deepcopy(good.module)
    module.norm = nn.BatchNorm2d(8, track_running_stats=False)
    report = judge(replace(good, module=module), traced(good.module))
    assert report.problem is not None
    assert "rows of a batch change each other, as batch-norm without running statistics" in report.problem


def test_a_later_row_of_a_batch_that_depends_on_the_first_is_named(good):
    def leaking(x: torch.Tensor, inner: nn.Module) -> torch.Tensor:
        answers = inner(x)
        return answers + answers[:1] * (torch.arange(len(x)) > 0)[:, None]

    report = judge(replace(good, module=_After(good.module, leaking)), traced(good.module))
    assert report.problem is not None
    assert "rows of a batch change each other" in report.problem
    assert "of row 1" in report.problem


def test_a_size_of_row_without_decoded_results_is_named():
    # Scores fall with the distance from the width of its own rows, 48: at 33 and 70 none reaches the threshold.
    silent = _After(classifier_net(), lambda x, inner: inner(x) + 1 - (x.shape[3] - SIZE_HW[1]) ** 2)
    head = classification(activation="sigmoid", score_threshold=0.1, top_k=4)
    truth = subject(silent, head, sizes=Sizes(multiple_of=1, least=24), scaling=None)
    report = judge(truth, traced(silent, free_sides=True))
    assert report.compared > 0
    assert report.problem == (
        "decoded results must be compared at each size of row, there are none at 40x33, 24x70: "
        "a sample with larger objects shows some"
    )


def test_more_near_ties_than_5_percent_prove_too_little(good):
    def answering(score: float) -> _After:
        """Sure of the first class; the second has ``score``, and the threshold is 0.5."""
        return _After(good.module, lambda x, inner: inner(x) * 0 + torch.tensor([0.9, score, 0.1, 0.1]))

    head = classification(activation="none", score_threshold=0.5, top_k=4)
    truth = replace(good, module=answering(0.50002), head=head, scaling=None)
    report = judge(truth, traced(answering(0.49998)))
    assert report.excluded == report.compared > 0
    total = report.compared + report.excluded
    assert report.problem == (f"at most 5% of the decoded results may be near-ties, {report.excluded} of {total} are")


def test_a_graph_without_decoded_results_proves_nothing(good):
    nothing = classification(activation="sigmoid", score_threshold=1.0, top_k=4)
    report = judge(replace(good, head=nothing, scaling=None), traced(good.module))
    assert report.problem == "no decoded result was compared, so nothing is proven"


def test_random_weights_that_answer_one_class_prove_too_little():
    same = subject(classifier_net())
    with torch.no_grad():
        same.module.last.weight.zero_()
    report = judge(same, traced(same.module))
    assert report.problem == "random weights prove too little: at least 2 classes must appear, there are 1"


class _Cancels(nn.Module):
    """Adds and takes away a large number: float32 keeps some 4e-3 of what is left, each kernel its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.inner(x) + 5e4) - 5e4


def test_a_miss_within_torchs_own_rounding_is_called_rounding_and_no_fault(good):
    truth = replace(good, module=_Cancels(good.module))
    report = judge(truth, traced(good.module))
    assert not report.passed
    (named,) = report.diagnosis
    assert named.startswith("fp32 rounding, no fault of the graph: output 'y' is ")
    assert named.endswith("from its answer in float64; the tolerance is too tight for these weights")


def test_a_model_that_decides_by_near_ties_is_named(good):
    # Of 1 in float32 nothing is left, of 1 in float64 all is.
    truth = replace(good, module=_After(good.module, lambda x, inner: inner(x) + ((x.sum() * 0 + 1e8) + 1 - 1e8)))
    report = judge(truth, traced(_After(good.module, lambda x, inner: inner(x) + 0.5)))
    assert not report.passed
    named = "the model decides by near-ties: its output 'y' is 1.0e+00 apart from itself in float64"
    assert report.diagnosis == (named,)


def test_a_fault_beside_rounding_is_still_called_by_its_name(good):
    truth = replace(good, module=_Cancels(good.module))
    report = judge(truth, traced(_After(good.module, lambda x, inner: inner(x)[:, [0, 2, 1, 3]] + inner(x) * 0)))
    assert not report.passed
    assert not any("rounding" in text for text in report.diagnosis)


def test_an_output_that_is_slightly_wrong_is_refused_at_the_first_place(good):
    graph = traced(good.module)
    bias = next(one for one in graph.graph.initializer if one.name.endswith("last.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0, 0.05, 0, 0]), bias.name))
    report = judge(good, graph)
    assert report.problem is not None
    first = "sample 0, batch 1, own size; optimisation all, 1 thread: raw outputs differ: output 'y' of row 0"
    assert report.problem.startswith(first)
    assert len(report.results) == 1


def test_suppression_at_the_traced_size_is_named():
    # Two sizes of one detector: its graph with suppression holds the anchors and the limits of the one it was made at.
    truth = detector(sizes=Sizes(multiple_of=8, least=32))
    choices = ExportChoices(pixels="float32", nms_in_graph=True)
    images, draft = decoded_samples(truth), draft_of(truth, choices)
    reference = reference_of(truth, draft)
    scale_random(truth, reference.manifest, images, sizes=((64, 96), (96, 64)))
    spec = TraceSpec(row_shape=(3, 64, 96), input_name=INPUT, output_names=("classes", "deltas"), least_side=32)
    graph = nms_in_graph(trace_with("torchscript", truth.module, spec), truth.head, row_hw=(64, 96)).model
    for axis, name in ((2, "height"), (3, "width")):  # what the pass itself refuses
        graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    candidate = Candidate(
        manifest=draft_manifest(draft, *inspect_graph(graph)), graph=graph_bytes(graph), exporter="faulty"
    )
    # As many cells, laid out the other way round: the graph runs, and its boxes lie elsewhere.
    plan = gate_plan(truth, images, sizes=((96, 64),), choices=choices, scaled=())
    report = run_gate(reference, candidate, plan).report
    assert not report.passed
    assert "sample 0, batch 1, 96x64" in str(report.problem)
    assert "the NMS of the graph works at the traced size: it agrees at its own size alone" in report.diagnosis
