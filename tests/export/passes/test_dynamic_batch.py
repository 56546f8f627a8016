import numpy as np
import pytest

from export.graph import inspect_graph
from export.passes.dynamic_batch import dynamic_batch
from export.passes.result import accepted
from pipelines.errors import RecipeError
from tests.export.models import parse, pixels, run

BATCH = {0: "batch"}
SPATIAL = {0: "batch", 2: "height", 3: "width"}

RESHAPED = """
m (float[2,3,4,4] x) => (float[2,48] y)
<int64[2] shape = {2, 48}> { y = Reshape(x, shape) }
"""
RESIZED = """
m (float[1,3,4,4] x) => (float[1,3,8,6] y)
<int64[4] sizes = {1, 3, 8, 6}> { y = Resize<mode = "nearest">(x, , , sizes) }
"""
SCALED = """
m (float[1,3,4,4] x) => (float[1,3,8,8] y)
<float[4] scales = {1, 1, 2, 2}> { y = Resize<mode = "nearest">(x, , scales) }
"""
POOLED = """
m (float[10,3,32,32] x) => (float[10,3,16,16] y)
{ z = Relu(x) y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(z) }
"""


def rows_of(model, batch):
    return np.concatenate([run(model, batch[i : i + 1])[0] for i in range(len(batch))])


def test_a_reshape_that_holds_the_batch_takes_any_batch():
    model = parse(RESHAPED)
    result = dynamic_batch(model, axes=BATCH)
    assert (result.count, result.refusal) == (2, None)  # the input's axis and the constant
    batch = pixels(5, 3, 4, 4)
    np.testing.assert_array_equal(run(result.model, batch)[0], batch.reshape(5, 48))


def test_a_resize_to_fixed_sizes_takes_any_batch():
    model = parse(RESIZED)
    result = dynamic_batch(model, axes=BATCH)
    assert (result.count, result.refusal) == (2, None)
    batch = pixels(4, 3, 4, 4)
    np.testing.assert_array_equal(run(result.model, batch)[0], rows_of(model, batch))


def test_a_resize_by_scales_needs_no_rewrite():
    result = dynamic_batch(parse(SCALED), axes=SPATIAL)
    assert (result.count, result.refusal) == (3, None)  # only the three axes of the input
    assert run(result.model, pixels(2, 3, 6, 10))[0].shape == (2, 3, 12, 20)


def test_height_and_width_become_dynamic_and_numbers_stay():
    model = parse(POOLED)
    result = dynamic_batch(model, axes=SPATIAL)
    assert result.count == 3
    batch = pixels(10, 3, 32, 32)
    np.testing.assert_array_equal(run(result.model, batch)[0], run(model, batch)[0])
    assert run(result.model, pixels(2, 3, 64, 48))[0].shape == (2, 3, 32, 24)


def test_outputs_get_the_batch_and_keep_their_fixed_sizes():
    (inputs, outputs) = inspect_graph(dynamic_batch(parse(POOLED), axes=BATCH).model)
    assert inputs[0].shape == ("batch", 3, 32, 32)
    assert outputs[0].shape == ("batch", 3, 16, 16)


def test_stale_shapes_of_inner_values_are_dropped():
    model = parse(POOLED)
    stale = model.graph.value_info.add()
    stale.CopyFrom(model.graph.output[0])
    stale.name = "z"
    assert len(dynamic_batch(model, axes=BATCH).model.graph.value_info) == 0


def test_the_graph_that_went_in_is_not_changed():
    model = parse(RESHAPED)
    before = model.SerializeToString()
    dynamic_batch(model, axes=BATCH)
    assert model.SerializeToString() == before


def test_no_axes_is_no_rewrite():
    model = parse(POOLED)
    assert dynamic_batch(model, axes={}).count == 0


def test_a_dynamic_axis_is_only_renamed():
    model = parse("m (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    result = dynamic_batch(model, axes=BATCH)
    assert result.count == 0
    assert inspect_graph(result.model)[0][0].shape == ("batch", 3)


@pytest.mark.parametrize(
    ("body", "axes", "reason"),
    [
        ("m (float[2,6] x) => (float[12] y) <int64[1] s = {12}> { y = Reshape(x, s) }", BATCH, "folds the batch of 2"),
        (
            "m (float[2,6] x) => (float[2,6] y) <int64[2] s = {2, 6}> { y = Reshape<allowzero = 1>(x, s) }",
            BATCH,
            "allowzero",
        ),
        (RESIZED, SPATIAL, r"bakes the height and width \[1, 3, 8, 6\]"),
        ("m (float[2,1] x) => (float[2,3] y) <int64[2] s = {2, 3}> { y = Expand(x, s) }", BATCH, "batch of 2"),
        ("m (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", BATCH, r"one input, it has \['x', 'w'\]"),
        ("m (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", SPATIAL, "has 2 axes, axis 3 was asked for"),
        (
            "m (float[2,3] x) => (float[2,3] y) <bool c = {1}> "
            "{ y = If(c)<then_branch = t () => (float[2,3] a) { a = Relu(x) }, "
            "else_branch = e () => (float[2,3] b) { b = Neg(x) }> }",
            BATCH,
            "control flow",
        ),
    ],
)
def test_what_cannot_be_freed_is_refused_with_its_reason(body, axes, reason):
    model = parse(body)
    result = dynamic_batch(model, axes=axes)
    assert (result.model, result.count) == (model, 0)
    with pytest.raises(RecipeError, match=f"dynamic_batch cannot be applied.*{reason}"):
        accepted(result, name="dynamic_batch")
