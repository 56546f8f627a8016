import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.distances import cosine_similarity, l2_distance, unit_rows
from tests.builders import f32

values = st.floats(-1e3, 1e3, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    dim = draw(st.integers(1, 6))
    rows = [hnp.arrays(np.float32, (draw(st.integers(0, 4)), dim), elements=values) for _ in range(2)]
    first, second = (draw(each) for each in rows)
    return tuple(each[np.abs(each).sum(axis=1) > 0] for each in (first, second))  # type: ignore[return-value]


@given(pair=pairs())
def test_distances_are_those_of_the_naive_loop(pair: tuple[np.ndarray, np.ndarray]):
    a, b = pair
    cosines, distances = cosine_similarity(a, b), l2_distance(a, b)
    assert cosines.shape == distances.shape == (len(a), len(b))
    for i, x in enumerate(a.astype(np.float64)):
        for j, y in enumerate(b.astype(np.float64)):
            assert cosines[i, j] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), abs=1e-9)
            # Of numbers near 1e3 squares are near 1e7, whose last bits are worth 1e-9, its root 1e-4.
            assert distances[i, j] == pytest.approx(np.linalg.norm(x - y), abs=2e-4)


@given(pair=pairs())
def test_unit_rows_have_length_one_and_keep_their_direction(pair: tuple[np.ndarray, np.ndarray]):
    unit = unit_rows(pair[0])
    assert unit.dtype == np.float32
    assert np.linalg.norm(unit.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)
    assert np.diag(cosine_similarity(unit, pair[0])) == pytest.approx(1, abs=1e-6)


def test_vectors_of_length_one_have_both_distances_in_one_relation():
    unit = unit_rows(np.random.default_rng(0).normal(size=(20, 8)))
    # float32 rounds lengths by up to 6e-8, and the squares of the distances by a few of these
    assert l2_distance(unit, unit) ** 2 == pytest.approx(2 - 2 * cosine_similarity(unit, unit), abs=1e-6)


def test_very_large_and_very_small_vectors_have_a_direction():
    assert np.array_equal(unit_rows(f32([[3e38, 0], [0, 1e-38]])), f32([[1, 0], [0, 1]]))


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (f32([[1, 0], [0, 0]]), "must not be zero, which has no direction, row 1 is"),
        (f32([[1, np.nan]]), "must be finite"),
        (f32([1, 0]), r"must be \(N, D\)"),
    ],
)
def test_what_has_no_direction_is_refused(vectors: np.ndarray, said: str):
    with pytest.raises(ValueError, match=said):
        unit_rows(vectors)


def test_vectors_of_different_models_are_refused():
    for distance in (cosine_similarity, l2_distance):
        with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\), got \(1, 2\) and \(1, 3\)"):
            distance(np.ones((1, 2)), np.ones((1, 3)))
