import numpy as np
from onnx import helper

from export.graph import graph_bytes
from export.passes.strip_metadata import strip_metadata
from tests.export.models import parse, pixels, run

TRACE = "File /home/somebody/train.py, line 3"
BRANCHES = """
m (float[N,3] x) => (float[N,3] y) <bool c = {1}>
{ y = If(c)<then_branch = t () => (float[N,3] a) { a = Relu(x) },
            else_branch = e () => (float[N,3] b) { b = Neg(x) }> }
"""


def annotated():
    """A model with a text in each place where one can stand; returns it with how many there are."""
    model = parse(BRANCHES)
    branch = model.graph.node[0].attribute[0].g
    places = [model, model.graph, model.graph.node[0], model.graph.input[0], model.graph.initializer[0], branch.node[0]]
    for place in places:
        place.doc_string = TRACE
    for place in places:
        place.metadata_props.add(key="stack_trace", value=TRACE)
    return model, 2 * len(places)


def test_every_text_goes_also_in_subgraphs():
    model, count = annotated()
    result = strip_metadata(model)
    assert result.count == count
    assert b"somebody" in graph_bytes(model)
    assert b"somebody" not in graph_bytes(result.model)


def test_numbers_stay():
    model, _ = annotated()
    value = pixels(2, 3)
    np.testing.assert_array_equal(run(strip_metadata(model).model, value)[0], run(model, value)[0])


def test_named_entries_of_the_model_stay():
    model = parse("m (float[N] x) => (float[N] y) { y = Relu(x) }")
    helper.set_model_props(model, {"labels": "cat\ndog", "author": "somebody"})
    result = strip_metadata(model, keep=["labels"])
    assert [(entry.key, entry.value) for entry in result.model.metadata_props] == [("labels", "cat\ndog")]
    assert result.count == 1


def test_a_clean_graph_is_no_rewrite():
    assert strip_metadata(parse("m (float[N] x) => (float[N] y) { y = Relu(x) }")).count == 0
