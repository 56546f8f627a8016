import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.graph import inspect_graph
from export.passes.to_float16 import to_float16
from tests.export.models import pixels, run
from tests.export.passes.test_fuse_batch_norm import PAIR, with_weights


def soft() -> onnx.ModelProto:
    return with_weights(PAIR.replace("y = Relu(n)", "y = Softmax(n)"))


def test_weights_become_half_as_large_and_the_numbers_stay_within_eleven_bits():
    model = with_weights(PAIR)
    result = to_float16(model)
    x = pixels(2, 3, 8, 8)
    weights = [numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer]
    assert result.count == 3
    assert {w.dtype for w in weights} == {np.dtype(np.float16)}
    # Sums of 27 products below 4, each rounded to 2**-11 of itself.
    np.testing.assert_allclose(run(result.model, x)[0], run(model, x)[0], rtol=1e-2, atol=3e-2)


def test_inputs_and_outputs_stay_float32():
    inputs, outputs = inspect_graph(to_float16(with_weights(PAIR)).model)
    assert {spec.dtype for spec in (*inputs, *outputs)} == {"float32"}


def test_a_softmax_stays_float32():
    result = to_float16(soft())
    graph = result.model.graph
    made = {name: node for node in graph.node for name in node.output}
    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    before = made[softmax.input[0]]
    assert (before.op_type, before.attribute[0].i) == ("Cast", TensorProto.FLOAT)
    assert result.count == 2


def test_the_graph_that_goes_in_is_not_written_into():
    model = with_weights(PAIR)
    before = model.SerializeToString(deterministic=True)
    to_float16(model)
    assert model.SerializeToString(deterministic=True) == before
