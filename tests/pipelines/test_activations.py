"""Softmax and sigmoid against their definitions, and at the edges of float32."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.activations import log_softmax, sigmoid, softmax
from pipelines.types import FloatArray
from tests import reference
from tests.builders import f32

LOGITS = arrays(np.float32, array_shapes(max_dims=1, max_side=8), elements=st.floats(-80, 80, width=32))


@given(LOGITS)
def test_softmax_equals_the_definition(logits: FloatArray) -> None:
    # float32 keeps 24 bits; a logit of 80 is itself only known to 4e-6, which its exponential carries on.
    np.testing.assert_allclose(softmax(logits), reference.softmax(logits.tolist()), rtol=3e-5, atol=1e-30)


@given(LOGITS)
def test_sigmoid_equals_the_definition(logits: FloatArray) -> None:
    expected = [reference.sigmoid(value) for value in logits.tolist()]
    np.testing.assert_allclose(sigmoid(logits), expected, rtol=1e-5)  # float32 exp of an argument up to 80


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_sums_to_one_along_its_axis(axis: int) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (4, 6)).astype(np.float32)
    # the sum of six float32 probabilities is off by at most six half units in the last place.
    np.testing.assert_allclose(softmax(logits, axis=axis).sum(axis=axis), 1, atol=5e-7)


@given(LOGITS)
def test_log_softmax_equals_the_definition(logits: FloatArray) -> None:
    expected = [value - float(logits.max()) for value in logits.astype(float).tolist()]
    total = np.log(np.exp(expected).sum())
    # float32 keeps 24 bits of a difference of up to 160.
    np.testing.assert_allclose(log_softmax(logits), np.array(expected) - total, rtol=1e-6, atol=1e-5)


@given(LOGITS)
def test_log_softmax_is_torch_s(logits: FloatArray) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is in the export extra")
    expected = torch.log_softmax(torch.from_numpy(logits), 0).numpy()
    np.testing.assert_allclose(log_softmax(logits), expected, rtol=1e-6, atol=1e-5)  # as above


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_log_softmax_is_the_logarithm_of_softmax_along_its_axis(axis: int) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (4, 6)).astype(np.float32)
    np.testing.assert_allclose(
        np.exp(log_softmax(logits, axis=axis)), softmax(logits, axis=axis), rtol=1e-5
    )  # a logarithm of -30 is known to 2e-6 in float32


def test_log_softmax_of_huge_logits_stays_finite() -> None:
    largest = np.finfo(np.float32).max
    assert log_softmax(f32([3e38, 0, -3e38])).tolist() == [0, -f32(3e38), -largest]


def test_softmax_of_huge_logits_does_not_overflow() -> None:
    assert softmax(f32([3e38, 0, -3e38])).tolist() == [1, 0, 0]


def test_sigmoid_saturates_without_overflow() -> None:
    assert sigmoid(f32([-3e38, 0, 3e38])).tolist() == [0, 0.5, 1]


def test_sigmoid_of_very_negative_logits_keeps_its_relative_precision() -> None:
    np.testing.assert_allclose(sigmoid(f32([-60])), np.exp(-60), rtol=1e-5)  # float32 exp of a large argument


@pytest.mark.parametrize("activation", [softmax, log_softmax, sigmoid])
def test_an_activation_stays_float32(activation: Callable[[FloatArray], FloatArray]) -> None:
    assert activation(f32([1, 2])).dtype == np.float32


def test_sigmoid_of_nothing_is_nothing() -> None:
    assert sigmoid(np.empty((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("activation", [softmax, log_softmax])
def test_softmax_of_no_rows_is_no_rows(activation: Callable[[FloatArray], FloatArray]) -> None:
    assert activation(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_an_activation_leaves_its_argument_alone() -> None:
    logits = f32([1, 2, 3])
    softmax(logits)
    log_softmax(logits)
    sigmoid(logits)
    assert logits.tolist() == [1, 2, 3]
