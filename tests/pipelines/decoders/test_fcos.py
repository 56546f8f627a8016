"""FCOS: torchvision's own post-processing, the naive loop, a round trip from boxes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter

from pipelines.activations import sigmoid
from pipelines.decoders.candidates import Candidates
from pipelines.decoders.fcos import decode
from pipelines.errors import ModelOutputError
from pipelines.nms import batched_nms, best_first
from pipelines.specs import Decoder, Fcos
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_anchors

FIXTURE = Path(__file__).parents[2] / "fixtures" / "decoders" / "fcos" / "fcos.npz"


def fcos(**over: Any) -> Fcos:
    """The paper's: points in the middle of their cells."""
    fields: dict[str, Any] = {
        "kind": "fcos",
        "classes": "cls_logits",
        "distances": "bbox_regression",
        "centerness": "bbox_ctrness",
        "strides": (8, 16),
        "step": "stride",
        "center_shift": 0.5,
        "distance_unit": "stride",
        "score": "geometric_mean",
        "clip_to_row": False,
    }
    return Fcos(**(fields | over))


def torchvision_fcos() -> Fcos:
    """torchvision's ``fcos_resnet50_fpn``."""
    return fcos(strides=(8, 16, 32, 64, 128), step="spread_floor", center_shift=0.0, clip_to_row=True)


@pytest.fixture
def published() -> dict[str, AnyArray]:
    with np.load(FIXTURE) as fixture:
        return dict(fixture)


def decode_published(published: dict[str, AnyArray]) -> Candidates:
    row_hw = (int(published["row_hw"][0]), int(published["row_hw"][1]))
    return decode(published, torchvision_fcos(), row_hw=row_hw, score_threshold=0.3)


def test_every_candidate_is_that_of_torchvision(published: dict[str, AnyArray]) -> None:
    found = decode_published(published)
    assert len(found) == len(published["all_scores"]) > 100
    order, expected = best_first(found.scores), np.argsort(-published["all_scores"], kind="stable")
    assert_allclose(found.scores[order], published["all_scores"][expected], rtol=2e-6)  # both float32
    assert_allclose(found.boxes[order], published["all_boxes"][expected], atol=1e-4)  # both float32, up to 224
    assert_array_equal(found.class_ids[order], published["all_labels"][expected])


def test_what_is_left_after_suppression_is_that_of_torchvision(published: dict[str, AnyArray]) -> None:
    found = decode_published(published)
    kept = batched_nms(
        found.boxes, found.scores, found.class_ids, iou_threshold=0.6, class_agnostic=False, candidates=len(found)
    )[:100]
    assert_allclose(found.boxes[kept], published["final_boxes"], atol=1e-4)
    assert_array_equal(found.class_ids[kept], published["final_labels"])


def count_points(row_hw: tuple[int, int]) -> int:
    return sum(-(-row_hw[0] // stride) * -(-row_hw[1] // stride) for stride in (8, 16))


@given(
    seed=st.integers(0, 2**32 - 1),
    row_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    num_classes=st.integers(1, 4),
    spread=st.sampled_from([1.0, 6.0]),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.6, 0.95]),
    step=st.sampled_from(["stride", "spread", "spread_floor"]),
    center_shift=st.sampled_from([0.0, 0.5]),
    distance_unit=st.sampled_from(["stride", "pixel"]),
    score=st.sampled_from(["geometric_mean", "product"]),
    clip_to_row=st.booleans(),
)
def test_random_outputs_decode_as_the_naive_loop(
    seed: int, row_hw: tuple[int, int], num_classes: int, spread: float, threshold: float, **fields: Any
) -> None:
    rng, count = np.random.default_rng(seed), count_points(row_hw)
    outputs = {
        "cls_logits": f32(rng.normal(0, spread, (count, num_classes))),
        "bbox_regression": f32(rng.exponential(3, (count, 4))),
        "bbox_ctrness": f32(rng.normal(0, spread, (count, 1))),
    }
    spec = fcos(**fields)
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=threshold)
    naive_anchors.agree(found, naive_anchors.fcos(outputs, spec, row_hw=row_hw, score_threshold=threshold))
    assert found.num_classes == num_classes


@given(seed=st.integers(0, 2**32 - 1), unit=st.sampled_from(["stride", "pixel"]))
def test_encoded_boxes_come_back(seed: int, unit: str) -> None:
    rng, row_hw = np.random.default_rng(seed), (40, 56)
    points = np.array(
        [(*point, stride) for stride in (8, 16) for point in naive_anchors.cells(row_hw, stride, "stride", 0.5)]
    )
    boxes = np.concatenate((points[:, :2], points[:, :2]), axis=1) + rng.uniform(0.1, 60, (len(points), 4)) * (
        -1,
        -1,
        1,
        1,
    )
    distances = naive_anchors.encode_distances(boxes, points[:, :2])
    outputs = {
        "cls_logits": f32(np.full((len(points), 1), 3.0)),
        "bbox_regression": f32(distances / points[:, 2:] if unit == "stride" else distances),
        "bbox_ctrness": f32(np.full((len(points), 1), 3.0)),
    }
    found = decode(outputs, fcos(distance_unit=unit), row_hw=row_hw, score_threshold=0.5)
    assert_allclose(found.boxes, boxes, atol=1e-4)  # float32 distances up to 60


def one_cell(**over: Any) -> dict[str, AnyArray]:
    """Outputs of a row of 8 x 8: one cell of each map, no object."""
    quiet = {
        "cls_logits": f32(np.full((2, 3), -9.0)),
        "bbox_regression": f32(np.zeros((2, 4))),
        "bbox_ctrness": f32(np.full((2, 1), -9.0)),
    }
    return quiet | over


def run(outputs: dict[str, AnyArray], spec: Fcos, *, score_threshold: float = 0.5) -> Candidates:
    return decode(outputs, spec, row_hw=(8, 8), score_threshold=score_threshold)


def test_a_cell_by_hand() -> None:
    outputs = one_cell(
        cls_logits=f32([[-9.0, np.log(4), -9.0], [-9.0] * 3]),
        bbox_regression=f32([[0.5, 1, 1.5, 2], [0] * 4]),
        bbox_ctrness=f32([[np.log(0.25)], [-9.0]]),
    )
    mean = run(outputs, fcos(), score_threshold=0.3)
    product = run(outputs, fcos(score="product", distance_unit="pixel"), score_threshold=0.1)
    # point 4, 4; stride 8; class 0.8, centerness 0.2
    assert mean.boxes.tolist() == [[0, -4, 16, 20]]
    assert product.boxes.tolist() == [[3.5, 3, 5.5, 6]]
    assert_allclose((mean.scores[0], product.scores[0]), (0.4, 0.16), rtol=1e-6)
    assert mean.class_ids.tolist() == product.class_ids.tolist() == [1]


@given(logit=st.floats(-12, 20, width=32), center=st.floats(-12, 20, width=32))
def test_a_score_that_meets_the_threshold_is_a_candidate(logit: float, center: float) -> None:
    score = np.sqrt(sigmoid(f32([logit])) * sigmoid(f32([center])))[0]
    outputs = one_cell(cls_logits=f32([[logit] * 3, [-60] * 3]), bbox_ctrness=f32([[center], [-60]]))
    found = run(outputs, fcos(), score_threshold=float(score))
    assert found.scores.tolist() == [score] * 3


def test_nothing_above_the_threshold_is_no_candidate() -> None:
    found = run(one_cell(), fcos())
    assert (found.boxes.shape, found.scores.shape, found.num_classes) == ((0, 4), (0,), 3)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param(
            {"cls_logits": f32(np.zeros((3, 3)))},
            "output 'cls_logits' must have one line for each of the 2 anchors of a row of 8 x 8, got 3",
            id="lines",
        ),
        pytest.param(
            {"bbox_regression": f32(np.zeros((2, 5)))},
            r"output 'bbox_regression' must have shape \(2, 4\) a row, got \(2, 5\)",
            id="distances",
        ),
        pytest.param(
            {"bbox_ctrness": f32(np.zeros(2))},
            r"output 'bbox_ctrness' must have shape \(2, 1\) a row, got \(2,\)",
            id="centerness",
        ),
        pytest.param({"bbox_ctrness": f32([[np.nan], [0]])}, "output 'bbox_ctrness' must be finite", id="NaN"),
        pytest.param(
            {
                "cls_logits": f32(np.zeros((2, 3))),
                "bbox_ctrness": f32(np.zeros((2, 1))),
                "bbox_regression": f32([[1e38] * 4, [0] * 4]),
            },
            "boxes from output 'bbox_regression' must be finite",
            id="a box beyond float32",
        ),
    ],
)
def test_outputs_that_cannot_be_decoded_are_refused(over: dict[str, AnyArray], words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        run(one_cell(**over), fcos())


def test_the_spec_survives_json_and_names_what_it_reads() -> None:
    decoder: TypeAdapter[Any] = TypeAdapter(Decoder)
    assert decoder.validate_json(fcos().model_dump_json()) == fcos()
    assert fcos().output_names == ("cls_logits", "bbox_regression", "bbox_ctrness")
