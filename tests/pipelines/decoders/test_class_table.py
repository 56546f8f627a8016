"""Tables of class scores: the naive loop, thresholds met exactly, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pipelines.activations import sigmoid, softmax
from pipelines.decoders.class_table import Picked, pick
from pipelines.errors import ModelOutputError
from tests.builders import f32
from tests.pipelines.decoders.naive_anchors import chances

ACTIVATIONS = st.sampled_from(["softmax", "sigmoid", "none"])
BACKGROUNDS = st.sampled_from(["first", "last", "none"])


def run(table: Any, **over: Any) -> Picked:
    options: dict[str, Any] = {
        "activation": "sigmoid",
        "background": "none",
        "per": "class",
        "score_threshold": 0.5,
    }
    return pick("scores", f32(table), **(options | over))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 20), st.integers(2, 6)),
    activation=ACTIVATIONS,
    background=BACKGROUNDS,
    per=st.sampled_from(["line", "class"]),
    threshold=st.sampled_from([0.0, 1e-6, 0.05, 0.3, 0.5, 0.9, 0.9995]),
    spread=st.sampled_from([1, 6]),
)
def test_what_is_picked_equals_the_naive_loop(
    seed: int, shape: tuple[int, int], activation: str, background: str, per: str, threshold: float, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.uniform(0, 1, shape) if activation == "none" else rng.normal(0, spread, shape)
    table = table.astype(np.float32)
    every = []
    for i, line in enumerate(table):
        scores = [(score, i, class_id) for class_id, score in enumerate(chances(line, activation, background))]
        every += [max(scores, key=lambda one: one[0])] if per == "line" else scores
    expected = [one for one in every if one[0] >= threshold]
    found = run(table, activation=activation, background=background, per=per, score_threshold=threshold)
    assert found.lines.tolist() == [line for _, line, _ in expected]
    assert found.class_ids.tolist() == [class_id for _, _, class_id in expected]
    # Differences of logits up to 60 are rounded to 4e-6 of an exponent.
    assert_allclose(found.scores, [score for score, _, _ in expected], rtol=2e-5)
    assert found.num_classes == shape[1] - (background != "none")


@given(st.floats(-100, 100, width=32))
def test_a_sigmoid_that_meets_the_threshold_is_picked(logit: float) -> None:
    score = sigmoid(f32([logit]))
    assert run([[logit]], score_threshold=float(score[0])).scores == score


@given(
    line=st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=5),
    background=st.sampled_from(["first", "last"]),
)
def test_a_softmax_that_meets_the_threshold_is_picked(line: list[float], background: str) -> None:
    scores = softmax(f32([line]))[0]
    scores = scores[1:] if background == "first" else scores[:-1]
    found = run([line], activation="softmax", background=background, score_threshold=float(scores.max()))
    assert scores.max() in found.scores


def test_the_background_takes_part_in_the_softmax_and_is_no_class() -> None:
    first = run([[np.log(8), 0.0, 0.0]], activation="softmax", background="first", score_threshold=0.05)
    last = run([[0.0, 0.0, np.log(8)]], activation="softmax", background="last", score_threshold=0.05)
    for found in (first, last):
        assert found.class_ids.tolist() == [0, 1]
        assert_allclose(found.scores, [0.1, 0.1], rtol=1e-6)
        assert found.num_classes == 2


def test_of_equal_classes_the_lower_id_is_a_lines_best() -> None:
    assert run([[1.0, 3.0, 3.0]], per="line").class_ids.tolist() == [1]


@pytest.mark.parametrize("background", ["first", "last", "none"])
def test_the_largest_logits_are_compared(background: str) -> None:
    largest = np.finfo(np.float32).max
    table = [[-largest, largest, -largest], [largest, -largest, largest]]
    found = run(table, activation="softmax", background=background, score_threshold=0.9)
    assert (found.lines.tolist(), found.scores.tolist()) == ([0], [1.0])


def test_an_empty_table_picks_nothing() -> None:
    found = run(np.empty((0, 3)))
    assert (len(found.lines), found.num_classes) == (0, 3)


def test_the_background_alone_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="output 'scores' must have a class beside the background, got 1 column"):
        run([[0.0]], background="last")


def test_logits_in_place_of_probabilities_are_refused() -> None:
    with pytest.raises(ModelOutputError, match="output 'scores' must hold probabilities from 0 to 1, got -2 to 3"):
        run([[-2.0, 3.0]], activation="none")
