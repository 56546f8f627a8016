import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.passes.fuse_batch_norm import fuse_batch_norm
from tests.export.models import pixels, run

PAIR = """
agraph (float[batch, 3, 8, 8] x) => (float[batch, 4, 6, 6] y) {
  c = Conv(x, w CONV_BIAS)
  n = BatchNormalization<epsilon = 0.01>(c, gamma, beta, mean, variance)
  y = Relu(n)
}
"""


def with_weights(body: str, *, bias: bool = False) -> onnx.ModelProto:
    """The graph with random weights in the initializers that it names."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> {body.replace("CONV_BIAS", ", b" if bias else "")}'
    )
    random = np.random.default_rng(0)
    values = {
        "w": random.normal(size=(4, 3, 3, 3)),
        "b": random.normal(size=4),
        "gamma": random.normal(size=4),
        "beta": random.normal(size=4),
        "mean": random.normal(size=4),
        "variance": random.uniform(0.1, 2, size=4),
    }
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items() if name in read
    )
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_with_batch_norm_becomes_one_convolution_of_the_same_numbers(bias):
    model = with_weights(PAIR, bias=bias)
    result = fuse_batch_norm(model)
    x = pixels(2, 3, 8, 8)
    assert result.count == 1
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "Relu"]
    # 27 products of values below 4, scaled once instead of twice.
    np.testing.assert_allclose(run(result.model, x)[0], run(model, x)[0], rtol=1e-5, atol=1e-5)


def test_weights_that_nothing_reads_any_more_go():
    result = fuse_batch_norm(with_weights(PAIR, bias=True))
    assert len(result.model.graph.initializer) == 2


@pytest.mark.parametrize(
    "body",
    [
        PAIR.replace("y = Relu(n)", "y = Add(n, c)"),
        PAIR.replace("<epsilon = 0.01>", "<training_mode = 1>").replace("n = Batch", "n, m, v = Batch"),
        PAIR.replace("c = Conv(x, w CONV_BIAS)", "k = Relu(w)\n  c = Conv(x, k)"),
        PAIR.replace("c = Conv(x, w CONV_BIAS)", "k = Conv(x, w)\n  c = Relu(k)"),
    ],
    ids=["read twice", "training", "computed weight", "not next to each other"],
)
def test_a_pair_that_cannot_be_fused_is_left_alone(body):
    model = with_weights(body)
    result = fuse_batch_norm(model)
    assert (result.count, result.model) == (0, model)
