import numpy as np
import onnx
import pytest

from export.passes.fold_constants import fold_constants
from tests.export.models import parse, pixels, run

SUMS = """
agraph (float[batch, 2] x) => (float[batch, 2] y) {
  two = Constant<value = float[2] {2.0, 3.0}>()
  five = Add(two, two)
  root = Sqrt(five)
  scaled = Mul(x, root)
  y = Relu(scaled)
}
"""


def test_nodes_that_no_input_reaches_become_one_weight():
    model = parse(SUMS)
    result = fold_constants(model)
    x = pixels(3, 2)
    assert result.count == 3
    assert [node.op_type for node in result.model.graph.node] == ["Mul", "Relu"]
    assert len(result.model.graph.initializer) == 1
    np.testing.assert_allclose(run(result.model, x)[0], run(model, x)[0], rtol=1e-6)


def test_the_folded_graph_is_valid_and_has_nothing_left_to_fold():
    once = fold_constants(parse(SUMS)).model
    onnx.checker.check_model(once)
    assert fold_constants(once).count == 0


@pytest.mark.parametrize(
    "body",
    [
        "agraph (float[2] x) => (float[2] y) { y = Relu(x) }",
        "agraph (float[2] x) => (float[2] y) { r = RandomNormal<shape = [2]>() y = Add(x, r) }",
        "agraph (float[2] x) => (float[2] y, float[1] z) { y = Relu(x) z = Constant<value = float[1] {1.0}>() }",
        "agraph (float[2] x) => (float[n] y) { s = Constant<value = int64[1] {2000000}>() "
        "z = ConstantOfShape(s) t = ReduceSum(z) y = Add(x, t) }",
    ],
    ids=["depends on the input", "random", "an answer of the graph", "too large"],
)
def test_what_must_stay_stays(body):
    model = parse(body)
    kinds = {node.op_type for node in model.graph.node} - {"Constant"}
    kept = {node.op_type for node in fold_constants(model).model.graph.node}
    assert kinds <= kept
    assert [value.name for value in fold_constants(model).model.graph.output] == [v.name for v in model.graph.output]
