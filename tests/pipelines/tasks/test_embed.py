"""Embedding: length 1 where the head says so, and no direction made up for a zero vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import place
from pipelines.options import PredictOptions
from pipelines.tasks.embed import EmbeddingPipeline
from pipelines.types import Embedding, FloatArray
from tests.builders import embedding_head, f32, letterbox, manifest

AFFINE = place(letterbox(), (100, 150))


def run(vector: Any, *, options: PredictOptions | None = None, **head: Any) -> Embedding:
    pipeline = EmbeddingPipeline(manifest(head=embedding_head(dim=3, **head)))
    return pipeline.postprocess({"embedding": vector}, AFFINE, options or PredictOptions())


def test_a_vector_is_divided_by_its_length() -> None:
    np.testing.assert_array_equal(run(f32([3, 0, -4])).vector, f32([0.6, 0, -0.8]))


# Not near 0: a subnormal float32 has too few bits for a precise direction.
COMPONENTS = st.one_of(st.floats(0.125, 2.0**100, width=32), st.floats(-(2.0**100), -0.125, width=32))


@given(arrays(np.float32, 3, elements=COMPONENTS))
def test_a_normalised_vector_has_length_one(vector: FloatArray) -> None:
    # three float32 components, each off by half a unit in the last place
    np.testing.assert_allclose(np.linalg.norm(run(vector).vector.astype(np.float64)), 1, atol=2e-7)


def test_squares_beyond_float32_do_not_overflow() -> None:
    np.testing.assert_array_equal(run(f32([3e38, 0, 0])).vector, [1, 0, 0])


def test_squares_below_float32_do_not_vanish() -> None:
    np.testing.assert_array_equal(run(f32([0, 1e-30, 0])).vector, [0, 1, 0])


def test_without_normalize_the_vector_is_answered_as_it_is() -> None:
    vector = f32([3, 0, -4])
    found = run(vector, normalize=False).vector
    np.testing.assert_array_equal(found, vector)
    assert not np.shares_memory(found, vector)


def test_a_zero_vector_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must not be the zero vector"):
        run(np.zeros(3, np.float32))


def test_another_dimension_is_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"'embedding' must have shape \(3\) a row, got \(4,\)"):
        run(np.ones(4, np.float32))


def test_nan_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="'embedding' must be finite"):
        run(f32([1, np.nan, 0]))


@pytest.mark.parametrize(
    "options",
    [
        PredictOptions(score_threshold=0.5),
        PredictOptions(iou_threshold=0.5),
        PredictOptions(max_detections=3),
        PredictOptions(top_k=3),
    ],
)
def test_every_option_is_refused(options: PredictOptions) -> None:
    with pytest.raises(InvalidRequestError, match="does not apply to embedding"):
        run(f32([1, 0, 0]), options=options)
