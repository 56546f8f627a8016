"""Sessions kept to one shape each, played on the CPU: the same answers, whatever is padded and whoever runs."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipelines.errors import GraphMismatchError, ModelRunError, RunTerminatedError
from pipelines.session import OnnxSession, RunControl
from pipelines.shaped_session import ShapedSession, batch_sizes, open_session
from tests.graphs import heatmap_graph


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
        assert session.sizes(2) == (1, 2)
        assert len(session.run({"image": rows(2)})["heatmap"]) == 2


def test_sizes_are_those_that_batches_are_padded_to(graph: Path, shaped: ShapedSession):
    assert shaped.sizes(1) == (1,)
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
