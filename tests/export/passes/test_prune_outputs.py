import numpy as np

from export.passes.prune_outputs import prune_outputs
from tests.export.models import parse, pixels, run

TWO_HEADS = """
m (float[N,3] x) => (float[N,3] kept, float[N,3] spare)
<float[1] used = {2}, float[1] unused = {3}>
{ shared = Relu(x) kept = Mul(shared, used) a = Neg(shared) spare = Mul(a, unused) }
"""
CAPTURED = """
m (float[N,3] x) => (float[N,3] y, float[N,3] z)
<bool c = {1}>
{ inner = Neg(x)
  y = If(c)<then_branch = t () => (float[N,3] a) { a = Relu(inner) },
            else_branch = e () => (float[N,3] b) { b = Exp(inner) }>
  z = Sqrt(x) }
"""


def test_nodes_and_weights_of_dropped_outputs_go_and_numbers_stay():
    model = parse(TWO_HEADS)
    result = prune_outputs(model, ["kept"])
    assert (result.count, result.refusal) == (2, None)
    assert [node.output[0] for node in result.model.graph.node] == ["shared", "kept"]
    assert [tensor.name for tensor in result.model.graph.initializer] == ["used"]
    value = pixels(4, 3)
    np.testing.assert_array_equal(run(result.model, value)[0], run(model, value)[0])


def test_weights_that_no_node_reads_go_even_when_all_outputs_stay():
    model = parse("m (float[N] x) => (float[N] y) <float[1] left = {1}> { y = Relu(x) }")
    result = prune_outputs(model, ["y"])
    assert (result.count, len(result.model.graph.initializer)) == (0, 0)


def test_outputs_come_in_the_order_asked_for():
    result = prune_outputs(parse(TWO_HEADS), ["spare", "kept"])
    assert [value.name for value in result.model.graph.output] == ["spare", "kept"]


def test_values_that_a_subgraph_takes_from_outside_stay():
    model = parse(CAPTURED)
    result = prune_outputs(model, ["y"])
    assert result.count == 1
    value = pixels(2, 3)
    np.testing.assert_array_equal(run(result.model, value)[0], run(model, value)[0])


def test_an_unknown_output_is_refused():
    model = parse(TWO_HEADS)
    result = prune_outputs(model, ["nothing"])
    assert result.model is model
    assert result.refusal == "outputs to keep must be some of ['kept', 'spare'], got 'nothing'"


def test_keeping_nothing_is_refused():
    assert prune_outputs(parse(TWO_HEADS), []).refusal is not None
