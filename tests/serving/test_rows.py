import numpy as np
import pytest

from pipelines.errors import InvalidRequestError, ModelRunError
from pipelines.specs import TensorSpec
from serving.rows import Rows, TensorContract, join_feeds, part_outputs, split_part, wanted_outputs

INPUTS = (
    TensorSpec(name="image", dtype="float32", shape=("batch", 3, "height", 8)),
    TensorSpec(name="scale", dtype="int64", shape=("batch",)),
)
OUTPUTS = (
    TensorSpec(name="boxes", dtype="float32", shape=("batch", 4)),
    TensorSpec(name="scores", dtype="float32", shape=("batch",)),
)


def tensors(rows: int = 2, **over: object) -> dict[str, object]:
    return {"image": np.zeros((rows, 3, 5, 8), np.float32), "scale": np.zeros(rows, np.int64)} | over


def part(*values: float, outputs: tuple[str, ...] = ("out",)) -> Rows:
    return Rows({"in": np.array(values, np.float32)}, len(values), outputs)


def test_tensors_that_fit_the_graph_become_rows_with_all_outputs():
    rows = TensorContract(INPUTS, OUTPUTS).rows(tensors(rows=3))
    assert (rows.count, rows.outputs, list(rows.feeds)) == (3, ("boxes", "scores"), ["image", "scale"])


def test_only_the_outputs_asked_for_are_wanted():
    assert TensorContract(INPUTS, OUTPUTS).rows(tensors(), ["scores"]).outputs == ("scores",)


@pytest.mark.parametrize(
    ("given", "outputs", "words"),
    [
        pytest.param({"image": tensors()["image"]}, (), r"inputs must be \['image', 'scale'\], got", id="missing"),
        pytest.param(tensors(mask=np.zeros(2)), (), r"got \['image', 'mask', 'scale'\]", id="unknown input"),
        pytest.param(tensors(), ["masks"], "outputs must be among .* got 'masks'", id="unknown output"),
        pytest.param(tensors(scale=np.zeros(2, np.int32)), (), "'scale' must be int64, got int32", id="dtype"),
        pytest.param(
            tensors(image=np.zeros((2, 3, 5, 9), np.float32)),
            (),
            r"must have shape \['batch', 3, 'height', 8\], one row or more, got \[2, 3, 5, 9\]",
            id="fixed size",
        ),
        pytest.param(tensors(image=np.zeros((3, 5, 8), np.float32)), (), r"got \[3, 5, 8\]", id="no batch axis"),
        pytest.param(tensors(image=np.zeros((2, 3, 0, 8), np.float32)), (), r"got \[2, 3, 0, 8\]", id="empty size"),
        pytest.param(tensors(image=np.float32(0)), (), r"got \[\]", id="scalar"),
        pytest.param(tensors(rows=0), (), "one row or more", id="no rows"),
        pytest.param(tensors(scale=np.zeros(3, np.int64)), (), "the same number of rows, got", id="row counts"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_with_what_must_hold(
    given: dict[str, np.ndarray], outputs: list[str], words: str
):
    with pytest.raises(InvalidRequestError, match=words):
        TensorContract(INPUTS, OUTPUTS).rows(given, outputs)


def test_a_graph_of_two_fixed_rows_takes_multiples_of_two():
    fixed = TensorContract([TensorSpec(name="in", dtype="float32", shape=(2, 4))], OUTPUTS)
    assert fixed.rows({"in": np.zeros((4, 4), np.float32)}).count == 4
    with pytest.raises(InvalidRequestError, match="multiple of 2, got 3"):
        fixed.rows({"in": np.zeros((3, 4), np.float32)})


def test_rows_share_a_key_when_dtypes_and_row_shapes_are_equal():
    contract = TensorContract(INPUTS, OUTPUTS)
    key = contract.rows(tensors()).batch_key()
    assert contract.rows(tensors(rows=7), ["boxes"]).batch_key() == key
    assert contract.rows(tensors(image=np.zeros((2, 3, 6, 8), np.float32))).batch_key() != key


def test_joined_parts_get_their_own_rows_back():
    parts = [part(1, 2), part(3), part(4, 5, 6)]
    joined = join_feeds(parts)
    answers = part_outputs({"out": joined["in"] * 10}, parts)
    assert [answer["out"].tolist() for answer in answers] == [[10, 20], [30], [40, 50, 60]]


def test_a_lone_part_is_not_copied():
    lone = part(1, 2)
    assert join_feeds([lone])["in"] is lone.feeds["in"]


def test_a_run_gives_each_part_the_outputs_it_wants_and_no_others():
    parts = [part(1, outputs=("a",)), part(2, outputs=("b", "a"))]
    assert wanted_outputs(parts) == ("a", "b")
    first, second = part_outputs({"a": np.array([1, 2]), "b": np.array([3, 4])}, parts)
    assert first.keys() == {"a"}
    assert (second["a"].tolist(), second["b"].tolist()) == ([2], [4])


@pytest.mark.parametrize("value", [np.zeros((2, 1)), np.zeros((4, 1)), np.float32(1) * np.ones(())])
def test_an_output_with_another_number_of_rows_fails_all_parts(value: np.ndarray):
    with pytest.raises(ModelRunError, match="output 'out' must have 3 rows"):
        part_outputs({"out": value}, [part(1, 2), part(3)])


def test_too_many_rows_for_a_run_are_cut_in_order():
    cut = split_part(part(1, 2, 3, 4, 5), 2)
    assert [piece.feeds["in"].tolist() for piece in cut] == [[1, 2], [3, 4], [5]]
    assert [piece.count for piece in cut] == [2, 2, 1]
    whole = part(1, 2)
    assert split_part(whole, 2) == [whole]
