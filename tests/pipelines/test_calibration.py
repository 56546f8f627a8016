"""Thresholds on embeddings whose true rates are known, and the figures that ``ocella evaluate`` gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from export.metrics.verification import verification_report
from pipelines.calibration import calibrate
from pipelines.decisions import Decision, Thresholds
from pipelines.errors import CalibrationError
from pipelines.types import AnyArray, FloatArray

DIM = 16


def people(count: int, each: int, *, seed: int, spread: float = 0.3) -> tuple[FloatArray, AnyArray]:
    """Embeddings of people whose directions are spread evenly, and of their images about each."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(count, DIM))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    identities = np.repeat(np.arange(count), each)
    noise = spread * generator.normal(size=(len(identities), DIM)) / np.sqrt(DIM)
    return (centers[identities] + noise).astype(np.float32), identities


def true_fmr(threshold: float) -> float:
    """Two even directions have a cosine c with (1 + c) / 2 ~ Beta((D - 1) / 2, (D - 1) / 2)."""
    return float(stats.beta.sf((1 + threshold) / 2, (DIM - 1) / 2, (DIM - 1) / 2))


@pytest.mark.parametrize(("count", "each", "target"), [(80, 2, 0.01), (30, 3, 0.02)])
def test_the_true_rate_lies_inside_the_interval_in_95_of_100_seeds(count: int, each: int, target: float):
    right = float(1 - 2 * stats.beta.ppf(target, (DIM - 1) / 2, (DIM - 1) / 2))  # the threshold of exactly that rate
    inside = {"rate": 0, "threshold": 0}
    for seed in range(100):
        found = calibrate(*people(count, each, seed=seed), target_fmr=target).calibration
        inside["rate"] += found.fmr.low <= true_fmr(found.thresholds.same) <= found.fmr.high
        inside["threshold"] += found.same_low <= right <= found.same_high
    assert min(inside.values()) >= 95


def test_figures_are_those_of_evaluate():
    vectors, identities = people(40, 4, seed=1, spread=0.8)
    measured = calibrate(vectors, identities, target_fmr=0.001).calibration
    report = verification_report(vectors, identities, fars=[0.001])
    (point,) = report.points
    assert measured.thresholds.same == point.threshold
    assert 1 - measured.fnmr.value == pytest.approx(point.tar, abs=1e-12)  # a sum of parts of 1
    assert (measured.auc, measured.eer) == (report.roc.auc, report.roc.eer)


def test_the_measured_rate_never_passes_the_target_and_no_lower_score_would_do():
    vectors, identities = people(30, 3, seed=2)
    measured = calibrate(vectors, identities, target_fmr=0.01)
    found, impostors = measured.calibration, measured.pairs.scores[~measured.pairs.genuine]
    assert found.fmr.value == (impostors >= found.thresholds.same).mean() <= 0.01
    lower = measured.pairs.scores[measured.pairs.scores < found.thresholds.same].max()
    assert (impostors >= lower).mean() > 0.01


def test_at_most_the_allowed_part_of_genuine_pairs_is_called_different():
    vectors, identities = people(40, 5, seed=3, spread=3.0)
    found = calibrate(vectors, identities, target_fmr=0.001, target_fnmr=0.05).calibration
    assert found.thresholds.different < found.thresholds.same
    assert 0 < found.missed.value <= 0.05


def test_people_who_are_told_apart_without_doubt_leave_no_uncertain_band():
    found = calibrate(*people(40, 3, seed=4, spread=0.05), target_fmr=0.001).calibration
    assert found.thresholds.different == found.thresholds.same
    assert found.fnmr.value == 0.0


def test_more_pairs_of_the_same_people_are_no_more_evidence_than_they_are():
    few = calibrate(*people(30, 2, seed=5, spread=0.05), target_fmr=0.02).calibration.fmr
    many = calibrate(*people(30, 8, seed=5, spread=0.05), target_fmr=0.02).calibration.fmr
    assert many.pairs > 15 * few.pairs
    assert many.effective_pairs < 2 * few.effective_pairs


def test_too_few_impostor_pairs_are_refused_with_how_many_are_needed():
    with pytest.raises(
        CalibrationError, match=r"0\.001 needs at least 2,995 pairs .* there are 180 of 20 images of 10"
    ):
        calibrate(*people(10, 2, seed=6), target_fmr=0.001)


def test_the_number_of_images_that_is_said_to_do_does():
    with pytest.raises(CalibrationError, match="79 images, as many of each person, would do"):
        calibrate(*people(10, 2, seed=6), target_fmr=0.001)
    assert calibrate(*people(40, 2, seed=6), target_fmr=0.001).calibration.fmr.pairs == 80 * 78 / 2
    with pytest.raises(CalibrationError):
        calibrate(*people(39, 2, seed=6), target_fmr=0.0011 * 0.9)  # 78 images: 2,964 pairs


@pytest.mark.parametrize(("count", "each"), [(1, 5), (5, 1)], ids=["one person", "one image each"])
def test_pairs_of_one_kind_alone_are_refused(count: int, each: int):
    with pytest.raises(CalibrationError, match="two images of one identity, and two identities"):
        calibrate(*people(count, each, seed=7), target_fmr=0.1)


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0])
def test_a_target_that_is_no_rate_is_refused(target: float):
    with pytest.raises(CalibrationError, match="above 0 and below 1"):
        calibrate(*people(10, 2, seed=8), target_fmr=target)


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.6, Decision.same), (0.5999, Decision.uncertain), (0.4, Decision.uncertain), (0.3999, Decision.different)],
)
def test_scores_fall_into_three_bands(score: float, decision: Decision):
    assert Thresholds(0.6, 0.4).decide(score) is decision


def test_bands_that_cross_are_refused():
    with pytest.raises(ValueError, match="different <= same"):
        Thresholds(0.4, 0.6)
