"""Classification: activation, the best classes, ties and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.activations import sigmoid, softmax
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


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_scores_pass_the_activation(activation: str) -> None:
    expected = {"softmax": softmax(LOGITS), "sigmoid": sigmoid(LOGITS), "none": LOGITS}[activation]
    found = run(LOGITS, activation=activation, top_k=NUM_CLASSES)
    np.testing.assert_array_equal(found.scores, expected[found.class_ids])


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
        PredictOptions(score_threshold=0.5),
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
