"""Classification: activation, the best classes, ties and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from pipelines.activations import log_softmax, sigmoid, softmax
from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import place
from pipelines.options import PredictOptions
from pipelines.tasks.classify import ClassificationPipeline
from pipelines.types import Classification, FloatArray, identical
from tests import reference
from tests.builders import NUM_CLASSES, classification_head, detection_head, f32, letterbox, manifest

AFFINE = place(letterbox(), (100, 150))
LOGITS = f32([0, 3, -1, 3, 7, 2, 0.5, -4, 6, 1])


def run(logits: Any, *, options: PredictOptions | None = None, labels: bool = True, **head: Any) -> Classification:
    over: dict[str, Any] = {"head": classification_head(**head)} | ({} if labels else {"labels": ()})
    pipeline = ClassificationPipeline(manifest(**over))
    return pipeline.postprocess({"logits": logits}, AFFINE, options or PredictOptions())


def test_the_best_classes_come_best_first_with_their_names() -> None:
    found = run(LOGITS, top_k=3)
    assert found.class_ids.tolist() == [4, 8, 1]
    assert found.labels == ("class 4", "class 8", "class 1")


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    assert run(LOGITS, top_k=4).class_ids.tolist() == [4, 8, 1, 3]


@given(
    arrays(np.float32, NUM_CLASSES, elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])),
    st.integers(1, NUM_CLASSES),
)
def test_top_k_equals_a_stable_sort(scores: FloatArray, top_k: int) -> None:
    found = run(scores, activation="none", top_k=top_k)
    assert found.class_ids.tolist() == reference.best_classes(scores.tolist(), top_k)


ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sigmoid": sigmoid,
    "none": lambda values: values,
}
PROBABILITIES = f32([0.1, 0.9, 0.2, 0.5, 0.7, 0, 1, 0.5, 0.3, 0.4])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_pass_the_activation(activation: str) -> None:
    found = run(LOGITS, activation=activation, top_k=NUM_CLASSES)
    np.testing.assert_array_equal(found.scores, ACTIVATIONS[activation](LOGITS)[found.class_ids])


@pytest.mark.parametrize("activation", ["softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_the_temperature_divides_the_logits(activation: str, temperature: float) -> None:
    found = run(LOGITS, activation=activation, temperature=temperature, top_k=NUM_CLASSES)
    expected = ACTIVATIONS[activation](LOGITS / np.float32(temperature))  # powers of two: exact
    np.testing.assert_array_equal(found.scores, expected[found.class_ids])


def test_a_temperature_by_hand() -> None:
    scores = run(f32([0, np.log(3)] + [-99] * 8), temperature=0.5, top_k=2).scores
    np.testing.assert_allclose(scores, [0.9, 0.1], rtol=1e-6)  # 3 to the power of 2 against 1


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
def test_huge_logits_at_any_temperature_give_no_nan(temperature: float) -> None:
    logits = f32([3e38, 3e38, -3e38, 0, 1, 2, 3, 4, 5, 6])
    for activation in ("softmax", "log_softmax", "sigmoid"):
        assert np.isfinite(run(logits, activation=activation, temperature=temperature, top_k=NUM_CLASSES).scores).all()


def test_a_temperature_that_would_not_act_is_refused() -> None:
    with pytest.raises(ValidationError, match="temperature must be 1 with activation none, got 2"):
        classification_head(activation="none", temperature=2.0)


# Logits of LOGITS at or above 0 have a sigmoid of 0.5 or more: classes 4, 8, 1, 3, 5, 9, 6, 0.
@pytest.mark.parametrize(("threshold", "count"), [(0.0, 10), (0.5, 8), (0.51, 7), (0.99, 2), (1.0, 0)])
def test_a_multi_label_head_answers_every_class_that_reaches_its_threshold(threshold: float, count: int) -> None:
    found = run(LOGITS, activation="sigmoid", score_threshold=threshold, top_k=NUM_CLASSES)
    reference_ids = reference.best_classes(LOGITS.tolist(), NUM_CLASSES)[:count]
    assert found.class_ids.tolist() == reference_ids
    assert found.labels == tuple(f"class {i}" for i in reference_ids)


def test_a_class_at_the_threshold_is_answered() -> None:
    # In float64 the float32 score 0.7 is below 0.7.
    found = run(PROBABILITIES, activation="none", score_threshold=0.7)
    assert found.class_ids.tolist() == [6, 1, 4]


def test_a_multi_label_head_answers_at_most_top_k() -> None:
    assert len(run(LOGITS, activation="sigmoid", score_threshold=0.0, top_k=3)) == 3


@pytest.mark.parametrize(("asked", "count"), [(None, 3), (0.5, 5), (0.95, 1)])
def test_a_request_may_move_the_threshold_of_a_multi_label_head(asked: float | None, count: int) -> None:
    options = PredictOptions(score_threshold=asked)
    assert len(run(PROBABILITIES, activation="none", score_threshold=0.7, options=options)) == count


def test_a_threshold_on_what_are_no_probabilities_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must hold probabilities from 0 to 1, got -4 to 7"):
        run(LOGITS, activation="none", score_threshold=0.5)


@pytest.mark.parametrize("activation", ["softmax", "log_softmax"])
def test_one_right_class_has_no_threshold(activation: str) -> None:
    with pytest.raises(ValidationError, match=f"score_threshold must be null with activation {activation}"):
        classification_head(activation=activation, score_threshold=0.5)


def test_a_threshold_is_refused_where_the_head_has_none() -> None:
    with pytest.raises(InvalidRequestError, match="score_threshold does not apply to tiny: it answers its best"):
        run(LOGITS, options=PredictOptions(score_threshold=0.5))


def test_a_request_may_ask_for_more_or_fewer_classes() -> None:
    assert len(run(LOGITS, top_k=5, options=PredictOptions(top_k=1))) == 1
    assert len(run(LOGITS, top_k=1, options=PredictOptions(top_k=7))) == 7


def test_asking_for_more_classes_than_there_are_gives_all() -> None:
    assert len(run(LOGITS, options=PredictOptions(top_k=1000))) == NUM_CLASSES


def test_a_model_without_labels_answers_without_labels() -> None:
    assert run(LOGITS, labels=False).labels == ()


def test_the_answer_does_not_share_memory_with_the_outputs() -> None:
    logits = LOGITS.copy()
    assert not np.shares_memory(run(logits, activation="none", top_k=NUM_CLASSES).scores, logits)


def test_the_same_outputs_give_the_same_bits_wherever_they_lie_in_memory() -> None:
    batch = np.zeros((3, NUM_CLASSES + 1), np.float32)
    batch[1, 1:] = LOGITS
    assert identical(run(LOGITS), run(batch[1, 1:]))


@pytest.mark.parametrize(
    "options",
    [
        PredictOptions(iou_threshold=0.5),
        PredictOptions(max_detections=3),
    ],
)
def test_an_option_of_another_task_is_refused(options: PredictOptions) -> None:
    with pytest.raises(InvalidRequestError, match="does not apply to classification"):
        run(LOGITS, options=options)


def test_as_many_labels_as_classes_are_demanded() -> None:
    with pytest.raises(ModelOutputError, match="names 10 labels, the model has 9 classes"):
        run(LOGITS[:9])


def test_nan_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="'logits' must be finite"):
        run(np.full(NUM_CLASSES, np.nan, np.float32))


def test_an_output_with_other_axes_is_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"shape \(any\) a row, got \(10, 1, 1\)"):
        run(LOGITS.reshape(-1, 1, 1))


def test_a_manifest_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="head must be a ClassificationHead, got DetectionHead"):
        ClassificationPipeline(manifest(head=detection_head()))
