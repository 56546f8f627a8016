import numpy as np

from export.passes.hide_initializers import hide_initializers
from tests.export.models import parse, pixels, run


def listed():
    model = parse("m (float[N,3] x) => (float[N,3] y) <float[3] w = {1, 2, 3}> { y = Mul(x, w) }")
    weight = model.graph.input.add()
    weight.CopyFrom(model.graph.input[0])
    weight.name = "w"
    del weight.type.tensor_type.shape.dim[0]
    model.ir_version = 3
    return model


def test_weights_are_no_inputs_any_more_and_numbers_stay():
    model = listed()
    result = hide_initializers(model)
    assert result.count == 1
    assert [value.name for value in result.model.graph.input] == ["x"]
    value = pixels(2, 3)
    np.testing.assert_array_equal(run(result.model, value)[0], run(model, value)[0])


def test_the_version_of_the_file_format_allows_it():
    assert hide_initializers(listed()).model.ir_version == 4


def test_a_graph_without_listed_weights_is_no_rewrite():
    model = parse("m (float[N] x) => (float[N] y) { y = Relu(x) }")
    result = hide_initializers(model)
    assert (result.count, result.model.ir_version) == (0, model.ir_version)
