import numpy as np
import pytest

from export.graph import inspect_graph
from export.passes.bake_input import bake_input, baked_spec
from pipelines.preprocess import normalize
from tests.export.models import parse, run
from tests.export.subjects import image_spec

GRAPH = """
agraph (float[batch, 3, height, width] x) => (float[batch, 3, height, width] y, float[batch, 3, height, width] z) {
  y = Identity(x)
  z = Relu(x)
}
"""


def some_pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


def test_the_graph_takes_pixels_and_computes_what_preprocessing_did():
    image = image_spec()
    result = bake_input(parse(GRAPH), image)
    rows = some_pixels()
    expected = np.stack([normalize(one, image) for one in rows])
    plain, rectified = run(result.model, rows)
    assert result.count == 1
    # One product and one sum in float32 of values below 4.
    np.testing.assert_allclose(plain, expected, atol=1e-6)
    np.testing.assert_allclose(rectified, np.maximum(expected, 0), atol=1e-6)


def test_the_input_becomes_uint8_with_the_channels_last():
    inputs, _ = inspect_graph(bake_input(parse(GRAPH), image_spec()).model)
    assert (inputs[0].dtype, inputs[0].shape) == ("uint8", ("batch", "height", "width", 3))


def test_the_transpose_comes_before_the_arithmetic():
    nodes = bake_input(parse(GRAPH), image_spec()).model.graph.node
    assert [node.op_type for node in nodes[:4]] == ["Transpose", "Cast", "Mul", "Add"]


def test_the_recipe_of_a_baked_graph_says_so_and_keeps_the_numbers():
    image = image_spec()
    baked = baked_spec(image)
    assert (baked.layout, baked.dtype, baked.in_graph) == ("hwc", "uint8", ("normalize",))
    assert (baked.scale, baked.mean, baked.std) == (image.scale, image.mean, image.std)


@pytest.mark.parametrize(
    ("graph", "changes", "reason"),
    [
        (GRAPH, {"scale": "image_max"}, "scale image_max depends on the image"),
        (
            "agraph (float[b, 3] x) => (float[b, 3] y) { y = Relu(x) }",
            {},
            "its input must be float32 (N, C, H, W)",
        ),
        (
            "agraph (float[b, 3, 2, 2] x, float[b, 3, 2, 2] w) => (float[b, 3, 2, 2] y) { y = Add(x, w) }",
            {},
            "it must have one input, it has ['x', 'w']",
        ),
    ],
    ids=["divisor of the image", "no image", "two inputs"],
)
def test_a_graph_that_cannot_normalise_is_refused(graph, changes, reason):
    result = bake_input(parse(graph), image_spec(**changes))
    assert (result.count, result.refusal) == (0, reason)
