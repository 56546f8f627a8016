import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from pipelines.similarity import estimate_similarity, invert, is_degenerate, move

seeds = st.integers(0, 2**32 - 1)


def similarity(random: np.random.Generator) -> np.ndarray:
    angle, scale = random.uniform(-np.pi, np.pi), np.exp(random.uniform(-3, 3))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = random.uniform(-500, 500, 2)
    return np.array([(cos, -sin, x), (sin, cos, y)])


def cloud(random: np.random.Generator, points: int = 5) -> np.ndarray:
    return random.uniform(0, 200, (points, 2))


@given(seed=seeds, points=st.integers(2, 9))
def test_a_similarity_is_found_again_from_the_points_that_it_moved(seed: int, points: int):
    random = np.random.default_rng(seed)
    source, matrix = cloud(random, points), similarity(random)
    if not is_degenerate(source):
        assert estimate_similarity(source, move(matrix, source)) == pytest.approx(matrix, rel=1e-6, abs=1e-6)


@given(seed=seeds)
def test_the_inverse_leads_back(seed: int):
    random = np.random.default_rng(seed)
    points, matrix = cloud(random), similarity(random)
    assert move(invert(matrix), move(matrix, points)) == pytest.approx(points, abs=1e-6)
    assert invert(invert(matrix)) == pytest.approx(matrix, rel=1e-9, abs=1e-6)


@given(seed=seeds)
def test_it_is_the_estimate_of_scikit_image(seed: int):
    random = np.random.default_rng(seed)
    source, target = cloud(random), cloud(random)
    expected = SimilarityTransform.from_estimate(source, target)
    assert estimate_similarity(source, target) == pytest.approx(expected.params[:2], rel=1e-6, abs=1e-6)


@given(seed=seeds)
def test_it_is_the_estimate_of_opencv_where_no_point_is_an_outlier(seed: int):
    """OpenCV looks for outliers first, and refines what is left by least squares: noise of 0.3 px is none."""
    random = np.random.default_rng(seed)
    source = cloud(random)
    target = move(similarity(random), source)
    target += random.uniform(-1e-3, 1e-3, target.shape) * np.abs(target).max()
    matrix, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=1e9)
    assert inliers.all()
    got = estimate_similarity(source, target)
    scale = np.abs(target).max()
    assert move(got, source) == pytest.approx(move(matrix, source), abs=1e-3 * scale)


@given(seed=seeds)
def test_no_similarity_nearby_fits_better(seed: int):
    random = np.random.default_rng(seed)
    source, target = cloud(random), cloud(random)
    best = estimate_similarity(source, target)

    def cost(matrix: np.ndarray) -> float:
        return float(np.square(move(matrix, source) - target).sum())

    a, b = best[0, 0], best[1, 0]
    for da, db, dx, dy in random.normal(0, 1e-3, (8, 4)):
        nearby = np.array([(a + da, -(b + db), best[0, 2] + dx), (b + db, a + da, best[1, 2] + dy)])
        assert cost(nearby) >= cost(best) - 1e-6


@given(seed=seeds)
def test_mirrored_points_give_a_rotation_and_no_reflection(seed: int):
    source = cloud(np.random.default_rng(seed))
    matrix = estimate_similarity(source, source * (-1, 1))
    assert np.linalg.det(matrix[:, :2]) > 0
    assert matrix[0, 0] == pytest.approx(matrix[1, 1])
    assert matrix[0, 1] == pytest.approx(-matrix[1, 0])


@given(seed=seeds)
def test_many_at_once_are_each_alone(seed: int):
    random = np.random.default_rng(seed)
    sources, target = np.stack([cloud(random) for _ in range(4)]), cloud(random)
    together = estimate_similarity(sources, target)
    assert together == pytest.approx(np.stack([estimate_similarity(each, target) for each in sources]))


def test_none_gives_none():
    assert estimate_similarity(np.empty((0, 5, 2)), cloud(np.random.default_rng(0))).shape == (0, 2, 3)


LINE = np.arange(5)[:, None] * (3.0, 2.0) + 40


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.full((5, 2), 7.0), id="one place"),
        pytest.param(LINE, id="one line"),
        pytest.param(LINE + 1e-4 * np.random.default_rng(0).normal(size=(5, 2)), id="nearly one line"),
        pytest.param(np.where(np.eye(5, 2, dtype=bool), np.nan, LINE), id="NaN"),
        pytest.param(np.full((2, 2), 7.0), id="two in one place"),
    ],
)
def test_points_that_determine_nothing_are_refused(points: np.ndarray):
    fine = cloud(np.random.default_rng(0), len(points))
    assert is_degenerate(points)
    assert not is_degenerate(fine)
    with pytest.raises(ValueError, match="source points must be finite, apart"):
        estimate_similarity(points, fine)
    with pytest.raises(ValueError, match="target points must be finite, apart"):
        estimate_similarity(fine, points)


def test_two_points_on_their_line_are_enough():
    matrix = estimate_similarity(np.array([(0.0, 0), (1, 0)]), np.array([(5.0, 5), (5, 7)]))
    assert matrix == pytest.approx(np.array([(0, -2, 5), (2, 0, 5)]))


@pytest.mark.parametrize(("a", "b"), [((5, 2), (4, 2)), ((5, 3), (5, 3)), ((1, 2), (1, 2)), ((2,), (2,))])
def test_points_of_another_shape_are_refused(a: tuple[int, ...], b: tuple[int, ...]):
    with pytest.raises(ValueError, match="points must be"):
        estimate_similarity(np.ones(a), np.ones(b))
