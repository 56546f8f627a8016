import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.graph import graph_bytes, inspect_graph, load_graph, opset_of
from pipelines.errors import GraphMismatchError
from pipelines.session import OnnxSession
from pipelines.specs import TensorSpec
from tests.export.models import parse
from tests.graphs import classifier_graph


def test_inputs_are_listed_without_weights():
    model = parse("m (float[N,3] x) => (float[N,3] y) <float[3] w = {1, 2, 3}> { y = Mul(x, w) }")
    weight = model.graph.input.add()
    weight.CopyFrom(model.graph.input[0])
    weight.name = "w"
    inputs, outputs = inspect_graph(model)
    assert inputs == (TensorSpec(name="x", dtype="float32", shape=("N", 3)),)
    assert outputs == (TensorSpec(name="y", dtype="float32", shape=("N", 3)),)


def test_a_graph_is_inspected_as_the_session_reports_it(tmp_path):
    model = classifier_graph()
    (tmp_path / "model.onnx").write_bytes(graph_bytes(model))
    with OnnxSession(tmp_path / "model.onnx") as session:
        assert inspect_graph(model) == (session.inputs, session.graph_outputs)


def test_an_unnamed_dynamic_size_is_a_question_mark():
    model = parse("m (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    assert inspect_graph(model)[0][0].shape == ("?", 3)


def test_a_sequence_is_refused():
    model = parse("m (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }")
    with pytest.raises(GraphMismatchError, match="'y' must be a tensor, got sequence_type"):
        inspect_graph(model)


def test_equal_graphs_have_equal_bytes():
    assert graph_bytes(classifier_graph()) == graph_bytes(classifier_graph())


def test_external_weights_are_taken_in(tmp_path):
    weights = numpy_helper.from_array(np.arange(512, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "m",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 512])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 512])],
        [weights],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    loaded = load_graph(tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "whole.onnx").write_bytes(graph_bytes(loaded))
    with OnnxSession(tmp_path / "whole.onnx") as session:
        answer = session.run({"x": np.zeros((1, 512), np.float32)})["y"]
    np.testing.assert_array_equal(answer[0], np.arange(512))


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "does not exist"), (b"not a model", "not a valid ONNX file"), (b"", "not a valid")]
)
def test_a_file_that_is_no_graph_is_refused(tmp_path, content, problem):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphMismatchError, match=problem):
        load_graph(path)


def test_the_opset_is_that_of_the_default_operators():
    assert opset_of(parse("m (float[N] x) => (float[N] y) { y = Relu(x) }", opset=17)) == 17


def test_a_graph_without_default_operators_has_no_opset():
    model = onnx.ModelProto()
    model.opset_import.add(domain="com.example", version=1)
    with pytest.raises(GraphMismatchError, match="no version of the default operator set"):
        opset_of(model)
