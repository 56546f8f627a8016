import numpy as np
import pytest
import sklearn.metrics as oracle

from export.metrics import verification
from export.metrics.verification import verification_report
from pipelines.verification import all_pairs, roc_curve
from tests.export.metrics.naive import equal_error_rate, tar_at_far


def faces(seed: int, *, people: int = 8, each: int = 5, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(people, 6))
    identities = np.repeat(np.arange(people), each)
    return (centers[identities] + noise * generator.normal(size=(len(identities), 6))).astype(np.float32), identities


def scored(seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    genuine = generator.uniform(size=400) < 0.3
    scores = generator.normal(size=400) + genuine
    return (scores.round(1) if ties else scores), genuine


def test_every_pair_is_there_once():
    vectors, identities = faces(0)
    pairs = all_pairs(vectors, identities)
    assert len(pairs.scores) == 40 * 39 // 2
    for (i, j), score, genuine in zip(pairs.images.tolist(), pairs.scores, pairs.genuine, strict=True):
        cosine = np.dot(vectors[i], vectors[j]) / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
        assert score == pytest.approx(cosine, abs=1e-5)  # the loop computes in float32
        assert genuine == (identities[i] == identities[j])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_curve_and_its_area_are_scikit_learns(seed, ties):
    scores, genuine = scored(seed, ties=ties)
    roc = roc_curve(scores, genuine)
    far, tar, thresholds = oracle.roc_curve(genuine, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.far, far)
    np.testing.assert_allclose(roc.tar, tar)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    assert roc.auc == pytest.approx(oracle.roc_auc_score(genuine, scores))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_a_loop_over_thresholds(seed, ties):
    scores, genuine = scored(seed, ties=ties)
    roc = roc_curve(scores, genuine)
    right, wrong = scores[genuine].tolist(), scores[~genuine].tolist()
    for far in (0.0, 1e-2, 0.1, 0.5, 1.0):
        assert roc.at_far(far)[0] == pytest.approx(tar_at_far(right, wrong, far))
    assert roc.eer == pytest.approx(equal_error_rate(right, wrong))


def test_a_threshold_gives_the_rate_that_it_promises():
    scores, genuine = scored(4, ties=True)
    tar, threshold = roc_curve(scores, genuine).at_far(0.05)
    assert np.mean(scores[genuine] >= threshold) == pytest.approx(tar)
    assert np.mean(scores[~genuine] >= threshold) <= 0.05


def test_people_far_apart_are_told_apart():
    report = verification_report(*faces(1, noise=0.01))
    assert (report.roc.auc, report.roc.eer) == (1.0, 0.0)
    assert [point.tar for point in report.points] == [1.0, 1.0, 1.0]


def test_a_rate_below_one_impostor_pair_is_not_resolved():
    report = verification_report(*faces(1, people=3, each=3), fars=(1e-1, 1e-2))  # 27 impostor pairs
    assert [point.resolved for point in report.points] == [True, False]
    assert set(report.headline()) == {"auc", "eer", "tar_at_far_1e-1"}


def test_weights_count_pairs_as_often_as_they_say():
    scores, genuine = scored(2, ties=True)
    weights = np.random.default_rng(0).integers(0, 4, len(scores))
    found = roc_curve(scores, genuine, weights)
    repeated = roc_curve(np.repeat(scores, weights), np.repeat(genuine, weights))
    assert found.auc == pytest.approx(repeated.auc)
    for far in (0.01, 0.1):
        assert found.at_far(far)[0] == pytest.approx(repeated.at_far(far)[0])


def test_resampled_people_give_an_interval_around_the_rate():
    report = verification_report(*faces(3, people=20))
    low, high = report.points[0].bootstrap
    assert low < report.points[0].tar < high
    low, high = report.auc_bootstrap
    assert low < report.roc.auc < high


def test_the_same_seed_gives_the_same_interval():
    assert verification_report(*faces(3), seed=1).auc_bootstrap == verification_report(*faces(3), seed=1).auc_bootstrap


def test_many_pairs_get_the_interval_of_independent_pairs_only(monkeypatch):
    monkeypatch.setattr(verification, "MAX_BOOTSTRAP_PAIRS", 10)
    report = verification_report(*faces(3))
    assert report.auc_bootstrap is None
    assert report.points[0].bootstrap is None
    assert report.points[0].wilson[0] < report.points[0].tar < report.points[0].wilson[1]


@pytest.mark.parametrize("identities", [[0, 1, 2], [0, 0, 0]], ids=["no genuine pair", "no impostor pair"])
def test_pairs_of_one_kind_are_refused(identities):
    with pytest.raises(ValueError, match="two images of one identity, and two identities"):
        all_pairs(np.eye(3, dtype=np.float32), np.array(identities))


def test_a_vector_of_length_0_is_refused():
    with pytest.raises(ValueError, match="longer than 0"):
        all_pairs(np.zeros((3, 2), np.float32), np.array([0, 0, 1]))
