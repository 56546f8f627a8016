"""A classifier that takes minutes for a white image, unless its run is ended, and no time for any other."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders import NUM_CLASSES
from tests.graphs import classifier_graph

SIDE = 256
TURNS = 1e6
"""By unit of brightness above ``BRIGHT``: white is 0.9 above, a turn takes about a millisecond."""
BRIGHT = 1.5
"""Mean of an image's normalised pixels that no photo reaches."""


def slow_graph() -> onnx.ModelProto:
    """``logits (10,)``, with a loop before them that white images alone enter."""
    model = classifier_graph()
    graph = model.graph
    last = graph.node[-1]
    last.output[0] = "classified"
    weights = np.random.default_rng(0).normal(0, 1 / 16, (SIDE, SIDE)).astype(np.float32)
    for name, value in (
        ("matrix", weights),
        ("bright", np.float32(BRIGHT)),
        ("turns", np.float32(TURNS)),
        ("yes", np.bool_(True)),
        ("nothing", np.float32(0)),
    ):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for operator, inputs, output, attributes in (
        ("ReduceMean", ("image",), "mean", {"keepdims": 0}),
        ("Sub", ("mean", "bright"), "above", {}),
        ("Relu", ("above",), "over", {}),
        ("Mul", ("over", "turns"), "wanted", {}),
        ("Cast", ("wanted",), "trips", {"to": TensorProto.INT64}),
        ("Loop", ("trips", "yes", "matrix"), "spent", {"body": _turn()}),
        ("ReduceMean", ("spent",), "rest", {"keepdims": 0}),
        ("Mul", ("rest", "nothing"), "zero", {}),
        ("Add", ("classified", "zero"), "logits", {}),
    ):
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == NUM_CLASSES
    onnx.checker.check_model(model, full_check=True)
    return model


def _turn() -> onnx.GraphProto:
    """One turn of the loop: a product of two matrices that stays finite."""
    shape = [SIDE, SIDE]
    nodes = [
        helper.make_node("MatMul", ["before", "matrix"], ["product"]),
        helper.make_node("Tanh", ["product"], ["after"]),
        helper.make_node("Identity", ["go"], ["go_on"]),
    ]
    return helper.make_graph(
        nodes,
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, shape),
        ],
    )
