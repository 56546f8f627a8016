import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from export.metrics.calibration import reliability
from tests.export.metrics.naive import expected_calibration_error


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_that_of_a_loop_over_bins(seed):
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0, 1, 300)
    right = generator.uniform(size=300) < confidence**2
    found = reliability(confidence, right).expected_error
    assert found == pytest.approx(expected_calibration_error(confidence.tolist(), right.tolist(), num_bins=15))


def test_the_error_is_torchmetrics():
    generator = np.random.default_rng(5)
    sure = generator.uniform(0.5, 1, 500)
    right = generator.uniform(size=500) < 0.8
    # Its binary form takes the probability of class 1 as the confidence, and class 1 as right.
    wanted = binary_calibration_error(torch.tensor(sure), torch.tensor(right.astype(int)), n_bins=15, norm="l1")
    assert reliability(sure, right).expected_error == pytest.approx(float(wanted), abs=1e-6)  # it sums in float32


def test_a_sure_and_right_model_has_no_error():
    assert reliability(np.ones(5), np.ones(5, bool)).expected_error == 0
    assert reliability(np.ones(5), np.zeros(5, bool)).expected_error == 1


def test_the_bins_hold_their_upper_edge_and_the_first_also_0():
    found = reliability(np.array([0.0, 0.25, 0.26, 1.0]), np.ones(4, bool), num_bins=4)
    assert found.counts.tolist() == [2, 1, 0, 1]
    assert np.isnan(found.accuracy[2])


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan")])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        reliability(np.array([0.5, value]), np.ones(2, bool))
