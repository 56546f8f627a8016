import numpy as np
import pytest
import torch
from torch import nn

from export.graph import graph_bytes, inspect_graph, opset_of
from export.torch_session import TorchSession
from export.trace import OPSET, trace
from pipelines.errors import ModelRunError, RecipeError
from pipelines.specs import TensorSpec
from tests.export.models import pixels, run

INPUT = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8))
OUTPUT = TensorSpec(name="y", dtype="float32", shape=("batch", 4, 8, 8))


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5))


def traced():
    return trace(module(), row_shape=(3, 8, 8), input_name="x", output_names=("y",))


def test_a_module_is_exported_with_a_dynamic_batch_and_the_opset_asked_for():
    model = traced()
    inputs, outputs = inspect_graph(model)
    assert (inputs, [spec.name for spec in outputs]) == ((INPUT,), ["y"])
    assert opset_of(model) == OPSET
    assert run(model, pixels(5, 3, 8, 8))[0].shape == (5, 4, 8, 8)


def test_the_export_answers_as_the_module_in_eval_mode():
    batch = pixels(3, 3, 8, 8)
    expected = TorchSession(module(), inputs=[INPUT], outputs=[OUTPUT]).run({"x": batch})["y"]
    # One convolution of 27 products in float32, summed in another order.
    np.testing.assert_allclose(run(traced(), batch)[0], expected, atol=1e-5)


def test_two_exports_are_equal_and_name_no_local_path():
    data = graph_bytes(traced())
    assert data == graph_bytes(traced())
    assert str(torch.__path__[0]).encode() not in data
    assert __file__.encode() not in data


def test_a_module_that_torch_cannot_export_is_named():
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else x + 1

    with pytest.raises(RecipeError, match="torch cannot export this module"):
        trace(Branches(), row_shape=(3,), input_name="x", output_names=("y",))


def test_an_opset_that_torch_does_not_answer_with_is_refused():
    with pytest.raises(RecipeError, match="torch must export opset 11, it exported 18"):
        trace(module(), row_shape=(3, 8, 8), input_name="x", output_names=("y",), opset=11)


def test_a_session_of_a_module_refuses_another_number_of_outputs():
    session = TorchSession(module(), inputs=[INPUT], outputs=[OUTPUT, OUTPUT])
    with pytest.raises(ModelRunError, match="must return 2 tensors, it returned 1"):
        session.run({"x": pixels(1, 3, 8, 8)})


def test_a_closed_session_does_not_run():
    session = TorchSession(module(), inputs=[INPUT], outputs=[OUTPUT])
    session.close()
    with pytest.raises(ModelRunError, match="closed"):
        session.run({"x": pixels(1, 3, 8, 8)})
