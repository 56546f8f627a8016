"""Raw outputs are read only when they are what the manifest promised."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output, require_finite, require_labels, require_probabilities
from tests.builders import f32


def test_a_contiguous_float32_output_is_not_copied() -> None:
    values = f32([1, 2, 3])
    assert read_output({"logits": values}, "logits", (3,)) is values


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_read_as_float32(dtype: type) -> None:
    values = read_output({"logits": np.array([0.5, 2], dtype)}, "logits", (None,))
    assert values.dtype == np.float32
    assert values.tolist() == [0.5, 2]


def test_a_strided_output_is_read_contiguous() -> None:
    assert read_output({"map": np.zeros((4, 6), np.float32).T}, "map", (6, 4)).flags.c_contiguous


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        pytest.param((4,), r"must have shape \(4\) a row, got \(3,\)", id="another length"),
        pytest.param((None, 1), r"must have shape \(any, 1\) a row, got \(3,\)", id="another rank"),
    ],
)
def test_another_shape_is_refused(shape: tuple[int | None, ...], words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        read_output({"logits": f32([1, 2, 3])}, "logits", shape)


def test_an_empty_output_is_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"must have shape \(any\) a row, got \(0,\)"):
        read_output({"logits": f32([])}, "logits", (None,))


def test_integers_are_refused() -> None:
    with pytest.raises(ModelOutputError, match="must be floating point, got int64"):
        read_output({"logits": np.array([1])}, "logits", (None,))


def test_a_missing_output_is_named_with_those_that_came() -> None:
    with pytest.raises(ModelOutputError, match=r"must answer output 'logits', got \['scores'\]"):
        read_output({"scores": f32([1])}, "logits", (None,))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_counted(bad: float) -> None:
    with pytest.raises(ModelOutputError, match="output 'logits' must be finite, got 2 NaN or infinite of 4 values"):
        read_output({"logits": f32([1, bad, 2, bad])}, "logits", (None,))


def test_opposite_infinities_do_not_hide_each_other() -> None:
    with pytest.raises(ModelOutputError, match="got 2 NaN or infinite"):
        require_finite("it", f32([np.inf, -np.inf]))


def test_large_finite_values_pass_though_their_sum_overflows() -> None:
    values = f32([3e38, 3e38])
    assert read_output({"logits": values}, "logits", (2,)) is values


def test_a_float64_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must be finite"):
        read_output({"logits": np.array([1e300])}, "logits", (None,))


@pytest.mark.parametrize("values", [[-0.01, 0.5], [0.5, 1.01]])
def test_values_outside_0_to_1_are_no_probabilities(values: list[float]) -> None:
    with pytest.raises(ModelOutputError, match="output 'p' must hold probabilities from 0 to 1"):
        require_probabilities("p", f32(values))


def test_probabilities_may_leave_their_range_by_rounding() -> None:
    require_probabilities("p", f32([-0.0005, 1.0005]))


def test_labels_must_be_as_many_as_classes() -> None:
    with pytest.raises(ModelOutputError, match="names 2 labels, the model has 3 classes"):
        require_labels(("a", "b"), 3)


@pytest.mark.parametrize("labels", [(), ("a", "b", "c")])
def test_no_labels_or_one_a_class_pass(labels: tuple[str, ...]) -> None:
    require_labels(labels, 3)
