from typing import Any

import numpy as np
import pytest

from pipelines import batches
from pipelines.batches import run_rows
from pipelines.errors import ModelRunError
from pipelines.types import AnyArray
from tests.builders import tensor


class Doubling:
    """Answers twice each row and notes how many came together."""

    def __init__(self, *, batch: int | str = "batch") -> None:
        spec = tensor("image", "size").model_copy(update={"shape": (batch, "size")})
        self.inputs, self.outputs, self.provider = (spec,), (spec,), "CPUExecutionProvider"
        self.runs: list[tuple[int, ...]] = []

    def run(self, feeds: dict[str, AnyArray]) -> dict[str, AnyArray]:
        self.runs.append(feeds["image"].shape)
        return {"twice": feeds["image"] * 2}

    def close(self) -> None: ...


def rows(*sizes: int) -> list[Any]:
    return [np.full(size, i, np.float32) for i, size in enumerate(sizes)]


def test_rows_of_one_shape_go_together_and_answers_keep_their_order():
    session = Doubling()
    answers = run_rows(session, rows(4, 2, 4, 4, 2))
    assert session.runs == [(3, 4), (2, 2)]
    assert [answer["twice"].tolist() for answer in answers] == [[0] * 4, [2] * 2, [4] * 4, [6] * 4, [8] * 2]


def test_a_graph_of_fixed_batch_gets_one_row_at_a_time():
    session = Doubling(batch=1)
    assert len(run_rows(session, rows(4, 4, 4))) == 3
    assert session.runs == [(1, 4)] * 3


def test_a_run_holds_at_most_so_many_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "MAX_RUN_VALUES", 9)
    session = Doubling()
    assert len(run_rows(session, rows(4, 4, 4, 4, 4, 20))) == 6
    assert session.runs == [(2, 4), (2, 4), (1, 4), (1, 20)]


def test_without_rows_nothing_runs():
    session = Doubling()
    assert run_rows(session, []) == []
    assert session.runs == []


def test_a_graph_that_answers_another_number_of_rows_is_an_error():
    session = Doubling()
    session.run = lambda feeds: {"twice": feeds["image"][:1]}  # type: ignore[method-assign]
    with pytest.raises(ModelRunError, match="must have 2 rows"):
        run_rows(session, rows(4, 4))
