from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

from pipelines.external_data import external_files
from tests.graphs import classifier_graph


def outside(location: str) -> TensorProto:
    """A tensor whose values lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(*, initializers: tuple[TensorProto, ...] = (), nodes: tuple[object, ...] = ()) -> ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    return helper.make_model(graph)


def in_attribute(location: str) -> ModelProto:
    return model(nodes=(helper.make_node("Constant", [], ["y"], value=outside(location)),))


def in_subgraph(location: str) -> ModelProto:
    inner = helper.make_graph([], "inner", [], [], [outside(location)])
    return model(nodes=(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),))


def in_function(location: str) -> ModelProto:
    node = helper.make_node("Constant", [], ["y"], value=outside(location))
    made = model()
    made.functions.append(helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 18)]))
    return made


def in_sparse(location: str) -> ModelProto:
    made = model()
    made.graph.sparse_initializer.append(SparseTensorProto(values=outside(location), dims=[1]))
    return made


def in_list(location: str) -> ModelProto:
    node = helper.make_node("Foo", [], ["y"])
    node.attribute.append(AttributeProto(name="a", type=AttributeProto.TENSORS, tensors=[outside(location)]))
    return model(nodes=(node,))


def in_training(location: str) -> ModelProto:
    made = model()
    made.training_info.add().initialization.initializer.append(outside(location))
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda location: model(initializers=(outside(location),)),
        in_attribute,
        in_subgraph,
        in_function,
        in_sparse,
        in_list,
        in_training,
    ],
)
def test_a_location_is_found_wherever_onnx_may_hold_a_tensor(tmp_path: Path, make: Callable[[str], ModelProto]):
    path = tmp_path / "model.onnx"
    path.write_bytes(make("../secret.bin").SerializeToString())
    assert external_files(path) == {"../secret.bin"}


def test_a_graph_with_all_its_weights_inside_names_no_file(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(classifier_graph().SerializeToString())
    assert external_files(path) == frozenset()


def test_the_word_in_other_places_names_no_file(tmp_path: Path):
    path = tmp_path / "model.onnx"
    weights = numpy_helper.from_array(np.zeros(3, np.float32), "location")
    path.write_bytes(model(initializers=(weights,)).SerializeToString())
    assert external_files(path) == frozenset()


def test_a_word_across_two_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(model(initializers=(outside("a.bin"),)).SerializeToString())
    for size in range(9, 20):
        monkeypatch.setattr("pipelines.external_data._CHUNK_BYTES", size)
        assert external_files(path) == {"a.bin"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x3a\xff\x01location", "ends behind its message"),
        (b"location\x80", "wire type|does not end|ends behind"),
        (b"\x08" + b"\xff" * 11 + b"location", "does not end"),
        (b"\x0blocation", "wire type 3"),
        (b"\xba\x80\x80\x80\x10\x08location", "has the tag 0x10000003a, which is above 32 bits"),
    ],
)
def test_bytes_that_are_no_message_are_refused(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        external_files(path)
