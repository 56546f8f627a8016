"""Set prediction: transformers' own post-processing, the naive loop, a round trip from boxes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter

from pipelines.boxes import xyxy_to_cxcywh
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.set_prediction import decode
from pipelines.errors import ModelOutputError
from pipelines.nms import best_first
from pipelines.specs import Decoder, SetPrediction
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_anchors

FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders" / "set_prediction"


def set_prediction(**over: Any) -> SetPrediction:
    """DETR."""
    fields: dict[str, Any] = {
        "kind": "set_prediction",
        "classes": "logits",
        "boxes": "pred_boxes",
        "class_activation": "softmax",
        "background": "last",
        "per": "query",
        "top_k": None,
    }
    return SetPrediction(**(fields | over))


def focal(*, top_k: int) -> SetPrediction:
    """RT-DETR and Deformable DETR."""
    return set_prediction(class_activation="sigmoid", background="none", per="query_class", top_k=top_k)


PUBLISHED = {"detr": set_prediction(), "rt_detr": focal(top_k=60), "deformable_detr": focal(top_k=100)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_candidate_is_that_of_transformers(name: str) -> None:
    with np.load(FIXTURES / f"{name}.npz") as archive:
        fixture = dict(archive)
    row_hw = (int(fixture["row_hw"][0]), int(fixture["row_hw"][1]))
    threshold = float(fixture["threshold"])
    found = decode(fixture, PUBLISHED[name], row_hw=row_hw, score_threshold=threshold)
    assert len(found) == len(fixture["scores"]) > 30
    order, expected = best_first(found.scores), np.argsort(-fixture["scores"], kind="stable")
    assert_allclose(found.scores[order], fixture["scores"][expected], rtol=2e-6)  # both float32
    assert_allclose(found.boxes[order], fixture["boxes"][expected], atol=3e-4)  # float32 there, up to 960
    assert_array_equal(found.class_ids[order], fixture["labels"][expected])


@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    row_hw=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.6, 0.95]),
    class_activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background=st.sampled_from(["first", "last", "none"]),
    per=st.sampled_from(["query", "query_class"]),
    top_k=st.sampled_from([None, 1, 5, 100]),
)
def test_random_outputs_decode_as_the_naive_loop(
    seed: int, queries: int, row_hw: tuple[int, int], threshold: float, **fields: Any
) -> None:
    rng, spec = np.random.default_rng(seed), set_prediction(**fields)
    classes = rng.uniform(0, 1, (queries, 4)) if spec.class_activation == "none" else rng.normal(0, 3, (queries, 4))
    outputs = {"logits": f32(classes), "pred_boxes": f32(rng.uniform(0, 1, (queries, 4)))}
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=threshold)
    naive_anchors.agree(found, naive_anchors.set_prediction(outputs, spec, row_hw=row_hw, score_threshold=threshold))


@given(
    seed=st.integers(0, 2**32 - 1), row_hw=st.tuples(st.integers(1, 900), st.integers(1, 900)), count=st.integers(1, 20)
)
def test_encoded_boxes_come_back(seed: int, row_hw: tuple[int, int], count: int) -> None:
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2))
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1) * np.tile(row_hw[::-1], 2)
    outputs = {
        "logits": f32(np.full((count, 1), 3.0)),
        "pred_boxes": f32(xyxy_to_cxcywh(boxes / np.tile(row_hw[::-1], 2))),
    }
    found = decode(outputs, focal(top_k=300), row_hw=row_hw, score_threshold=0.5)
    assert_allclose(found.boxes, boxes, atol=2e-4)  # float32 fractions of up to 900


def run(logits: Any, spec: SetPrediction, *, score_threshold: float = 0.5) -> Candidates:
    """Decode queries that all have the box in the middle of a row of 40 x 80."""
    outputs = {"logits": f32(logits), "pred_boxes": np.tile(f32([0.5, 0.5, 0.25, 0.5]), (len(logits), 1))}
    return decode(outputs, spec, row_hw=(40, 80), score_threshold=score_threshold)


def test_a_query_of_detr_by_hand() -> None:
    found = run([[0.0, np.log(6), 0.0]], set_prediction())
    assert found.boxes.tolist() == [[30, 10, 50, 30]]
    assert_allclose(found.scores, [0.75], rtol=1e-6)  # 6 / (1 + 6 + 1)
    assert (found.class_ids.tolist(), found.num_classes) == ([1], 2)


def test_a_query_whose_no_object_is_likely_is_no_candidate() -> None:
    found = run([[0.0, 1.0, 9.0]], set_prediction())
    assert (found.boxes.shape, len(found)) == ((0, 4), 0)


def test_one_query_gives_several_classes_where_each_counts() -> None:
    found = run([[1.0, 2.0, -3.0]], focal(top_k=300))
    assert found.class_ids.tolist() == [1, 0]
    assert found.boxes.tolist() == [[30, 10, 50, 30]] * 2


def test_the_limit_keeps_the_best_and_of_equals_the_earlier() -> None:
    found = run([[1.0, 3.0], [3.0, 2.0]], focal(top_k=2), score_threshold=0.1)
    assert found.class_ids.tolist() == [1, 0]
    assert run([[1.0, 1.0], [1.0, 1.0]], focal(top_k=3)).class_ids.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param({"logits": f32(np.zeros(3))}, r"output 'logits' must have shape \(any, any\) a row", id="classes"),
        pytest.param(
            {"pred_boxes": f32(np.zeros((3, 4)))},
            r"output 'pred_boxes' must have shape \(2, 4\) a row, got \(3, 4\)",
            id="another number of boxes",
        ),
        pytest.param(
            {"pred_boxes": f32(np.zeros((2, 5)))},
            r"output 'pred_boxes' must have shape \(2, 4\) a row, got \(2, 5\)",
            id="another box",
        ),
        pytest.param(
            {"logits": f32(np.zeros((2, 1)))},
            "output 'logits' must have a class beside the background, got 1 column",
            id="background alone",
        ),
        pytest.param({"pred_boxes": f32([[np.nan] * 4] * 2)}, "output 'pred_boxes' must be finite", id="NaN"),
        pytest.param(
            {"logits": f32([[9, 0], [9, 0]]), "pred_boxes": f32([[3e38] * 4] * 2)},
            "boxes from output 'pred_boxes' must be finite",
            id="a box beyond float32",
        ),
    ],
)
def test_outputs_that_cannot_be_decoded_are_refused(over: dict[str, AnyArray], words: str) -> None:
    outputs = {"logits": f32(np.zeros((2, 3))), "pred_boxes": f32(np.zeros((2, 4)))} | over
    with pytest.raises(ModelOutputError, match=words):
        decode(outputs, set_prediction(), row_hw=(40, 80), score_threshold=0.5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_spec_survives_json(name: str) -> None:
    decoder: TypeAdapter[Any] = TypeAdapter(Decoder)
    assert decoder.validate_json(PUBLISHED[name].model_dump_json()) == PUBLISHED[name]


def test_the_outputs_that_it_reads() -> None:
    assert set_prediction().output_names == ("logits", "pred_boxes")
