"""Sessions kept to one shape each, played on the CPU: the same answers, whatever is padded and whoever runs."""

import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipelines.errors import GraphMismatchError, ModelRunError, RunTerminatedError
from pipelines.session import CUDA, OnnxSession, RunControl
from pipelines.shaped_session import ShapedSession, batch_sizes, open_session
from tests.graphs import heatmap_graph

PATIENCE_S = 60.0
Shapes = dict[str, tuple[int | str, ...]]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(heatmap_graph(), path)
    return path


class Made:
    """Counts the sessions of a graph that were made, and keeps the shapes that each ran."""

    def __init__(self, graph: Path) -> None:
        self._graph = graph
        self.shapes: list[list[tuple[int, ...]]] = []

    def __call__(self) -> OnnxSession:
        session = OnnxSession(self._graph)
        seen: list[tuple[int, ...]] = []
        self.shapes.append(seen)
        run = session.run

        def watched(feeds: dict[str, np.ndarray], **arguments: object) -> dict[str, np.ndarray]:
            seen.append(next((value.shape for value in feeds.values()), ()))
            return run(feeds, **arguments)  # type: ignore[arg-type]

        session.run = watched  # type: ignore[method-assign, assignment]
        return session


@pytest.fixture
def made(graph: Path) -> Made:
    return Made(graph)


@pytest.fixture
def shaped(made: Made) -> Iterator[ShapedSession]:
    with ShapedSession(made(), made, most=3, device=0) as session:
        yield session


def rows(count: int, *, height: int = 32) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, height, 48)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_padded_batches_answer_as_plain_ones(graph: Path, shaped: ShapedSession, count: int):
    shaped.run({"image": rows(9) * 1e6})  # what the padding may hold
    got = shaped.run({"image": rows(count)})
    with OnnxSession(graph) as plain:
        expected = plain.run({"image": rows(count)})
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert len(value) == count
        # A batch of another size may be summed in another order; values are below 100.
        np.testing.assert_allclose(value, expected[name], atol=1e-4)


def test_each_session_runs_one_shape(shaped: ShapedSession, made: Made):
    for count in (1, 3, 1, 4, 8, 7, 2, 1):
        shaped.run({"image": rows(count)})
    assert [set(shapes) for shapes in made.shapes] == [{(1, 3, 32, 48)}, {(4, 3, 32, 48)}, {(8, 3, 32, 48)}]


def test_a_shape_too_many_takes_the_session_that_rested_longest(shaped: ShapedSession, made: Made):
    for height in (32, 48, 64, 48, 32, 80, 32):
        shaped.run({"image": rows(1, height=height)})
    assert len(made.shapes) == 3
    assert [shape[2] for shape in made.shapes[2]] == [64, 80]


def test_where_no_further_session_can_be_made_those_that_are_there_go_on(graph: Path):
    def refuse() -> OnnxSession:
        raise GraphMismatchError("out of memory")

    with ShapedSession(OnnxSession(graph), refuse, most=3, device=0) as session:
        for count in (1, 4, 1):
            assert len(session.run({"image": rows(count)})["heatmap"]) == count


def test_a_further_session_that_fell_back_to_another_provider_is_not_used(graph: Path):
    first = OnnxSession(graph)
    first.provider = CUDA
    made: list[OnnxSession] = []

    def fall_back() -> OnnxSession:
        made.append(OnnxSession(graph))
        return made[-1]

    with ShapedSession(first, fall_back, most=3, device=0) as session:
        for count in (1, 4, 8):
            assert len(session.run({"image": rows(count)})["heatmap"]) == count
        assert len(made) == 1
        with pytest.raises(ModelRunError, match="the session is closed"):
            made[0].run({"image": rows(1)})


def test_rows_that_were_joined_are_not_copied_again(graph: Path, shaped: ShapedSession):
    parts = [rows(1), rows(2)]
    joined = shaped.join("image", parts)
    assert joined.ctypes.data == shaped._stage("image", joined).ctypes.data
    got = shaped.run({"image": joined})
    with OnnxSession(graph) as plain:
        expected = plain.run({"image": np.concatenate(parts)})
    np.testing.assert_allclose(got["heatmap"], expected["heatmap"], atol=1e-6)  # probabilities


def test_a_graph_of_one_batch_size_is_never_padded(tmp_path: Path):
    model = heatmap_graph()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "model.onnx")
    with ShapedSession(OnnxSession(tmp_path / "model.onnx"), Made(tmp_path), most=3, device=0) as session:
        assert session.sizes(2) == ()  # a first run of one row would fail
        assert len(session.run({"image": rows(2)})["heatmap"]) == 2


def save_graph(path: Path, nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes) -> Path:
    """A graph of float32, or of text where a name says so, in a file."""

    def infos(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        kinds = {name: TensorProto.STRING if "text" in name else TensorProto.FLOAT for name in shapes}
        return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]

    made = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs))
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("other", [(3, 2), ()], ids=["of_one_size", "without_batch_axis"])
def test_a_graph_is_not_padded_where_another_input_is_not(tmp_path: Path, other: tuple[int, ...]):
    nodes = [helper.make_node("Mul", ["a", "b"], ["c"])]
    path = save_graph(tmp_path / "two.onnx", nodes, {"a": ("N", 2), "b": other}, {"c": ("M", 2)})
    a, b = np.ones((3, 2), np.float32), np.full(other, 2, np.float32)
    with ShapedSession(OnnxSession(path), Made(path), most=3, device=0) as session:
        assert session.sizes(4) == ()
        assert session.run({"a": a, "b": b})["c"].tolist() == (a * b).tolist()


def test_an_output_of_as_many_rows_as_are_padded_to_is_not_cut(tmp_path: Path):
    """As a plain session gives it: a server then refuses it, in the place of answering with rows of something else."""
    four = helper.make_tensor("four", TensorProto.FLOAT, (4, 2), np.arange(8.0))
    nodes = [
        helper.make_node("Neg", ["a"], ["negative"]),
        helper.make_node("Constant", [], ["constant"], value=four),
    ]
    path = save_graph(tmp_path / "four.onnx", nodes, {"a": ("N", 2)}, {"negative": ("N", 2), "constant": (4, 2)})
    with ShapedSession(OnnxSession(path), Made(path), most=3, device=0) as session:
        got = session.run({"a": np.ones((3, 2), np.float32)})
    assert {name: len(value) for name, value in got.items()} == {"negative": 3, "constant": 4}


def test_text_is_joined_and_run_as_by_a_plain_session(tmp_path: Path):
    nodes = [helper.make_node("Identity", ["text"], ["same_text"])]
    path = save_graph(tmp_path / "text.onnx", nodes, {"text": ("N", 1)}, {"same_text": ("N", 1)})
    with ShapedSession(OnnxSession(path), Made(path), most=3, device=0) as session:
        joined = session.join("text", [np.array([["a"]], object), np.array([["b"], ["c"]], object)])
        assert session.run({"text": joined})["same_text"].tolist() == [["a"], ["b"], ["c"]]


def test_runs_of_known_shapes_go_on_while_a_session_is_made(graph: Path):
    entered, go_on = threading.Event(), threading.Event()

    def another() -> OnnxSession:
        entered.set()
        assert go_on.wait(PATIENCE_S)
        return OnnxSession(graph)

    with ShapedSession(OnnxSession(graph), another, most=3, device=0) as session:
        session.run({"image": rows(1)})
        thread = threading.Thread(target=session.run, args=({"image": rows(4)},))
        thread.start()
        assert entered.wait(PATIENCE_S)
        known = threading.Thread(target=session.run, args=({"image": rows(1)},))
        known.start()
        known.join(PATIENCE_S)
        assert not known.is_alive()
        go_on.set()
        thread.join(PATIENCE_S)


def test_a_session_that_is_made_while_all_are_closed_is_closed_too(graph: Path):
    made: list[OnnxSession] = []

    def another() -> OnnxSession:
        session.close()
        made.append(OnnxSession(graph))
        return made[0]

    session = ShapedSession(OnnxSession(graph), another, most=3, device=0)
    session.run({"image": rows(1)})
    with pytest.raises(ModelRunError, match="the session is closed"):
        session.run({"image": rows(4)})
    with pytest.raises(ModelRunError, match="the session is closed"):
        made[0].run({"image": rows(4)})


def test_a_closed_session_holds_no_batch_of_a_thread_that_lives_on(shaped: ShapedSession):
    block = weakref.ref(shaped.join("image", [rows(2), rows(1)]).base)
    assert block() is not None
    shaped.close()
    assert block() is None


def test_sizes_are_those_that_batches_are_padded_to(graph: Path, shaped: ShapedSession):
    assert shaped.sizes(1) == (1,)
    assert [shaped.padding(count) for count in (1, 2, 4, 5, 17, 2000)] == [0, 2, 0, 3, 15, 0]
    assert shaped.sizes(20) == batch_sizes(shaped, 32) == (1, 4, 8, 16, 32)
    with OnnxSession(graph) as plain:
        assert batch_sizes(plain, 32) == ()


def test_concurrent_runs_of_all_sizes_do_not_mix(graph: Path, shaped: ShapedSession):
    with OnnxSession(graph) as plain:
        expected = [plain.run({"image": rows(count)})["heatmap"] for count in range(1, 6)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            got = shaped.run({"image": shaped.join("image", list(rows(i + 1)[:, None]))})["heatmap"]
            if got.shape != expected[i].shape or not np.allclose(got, expected[i], atol=1e-5):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_wrong_with_a_run_is_said_as_by_a_plain_session(shaped: ShapedSession):
    bad: list[Callable[[], object]] = [
        lambda: shaped.run({}),
        lambda: shaped.run({"image": np.float32(1) * np.ones(())}),
        lambda: shaped.run({"picture": rows(1)}),
        lambda: shaped.run({"image": rows(1).astype(np.float64)}),
    ]
    for call in bad:
        with pytest.raises(ModelRunError, match="refused or failed the run"):
            call()


def test_a_run_is_ended_and_a_closed_session_says_so(shaped: ShapedSession):
    control = RunControl()
    control.terminate()
    with pytest.raises(RunTerminatedError):
        shaped.run({"image": rows(1)}, control=control)
    shaped.close()
    for count in (1, 4):
        with pytest.raises(ModelRunError, match="the session is closed"):
            shaped.run({"image": rows(count)})


def test_on_the_cpu_a_session_is_a_plain_one(graph: Path):
    with open_session(graph) as session:
        assert isinstance(session, OnnxSession)
