"""Box deltas: torchvision's own post-processing, the naive loop, a round trip from boxes, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter, ValidationError

from pipelines.anchors import make_anchors
from pipelines.decoders.box_delta import decode
from pipelines.decoders.candidates import Candidates
from pipelines.errors import ModelOutputError
from pipelines.nms import batched_nms, best_first
from pipelines.specs import BoxDelta, Decoder, DefaultBoxes, DefaultLevel, SizedAnchors, SizedLevel
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_anchors

FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders" / "box_delta"
LIMIT = math.log(1000 / 16)


def box_delta(**over: Any) -> BoxDelta:
    """RetinaNet over one small map."""
    fields: dict[str, Any] = {
        "kind": "box_delta",
        "classes": "cls_logits",
        "deltas": "bbox_regression",
        "proposals": None,
        "anchors": small_anchors(),
        "deltas_per": "anchor",
        "weights": (1.0, 1.0, 1.0, 1.0),
        "max_log_scale": LIMIT,
        "class_activation": "sigmoid",
        "background": "none",
        "clip_to_row": False,
        "min_side": 0.0,
    }
    return BoxDelta(**(fields | over))


def small_anchors() -> SizedAnchors:
    return SizedAnchors(
        kind="sized",
        levels=(SizedLevel(stride=16, sizes=(24.0,), aspect_ratios=(0.5, 2.0)),),
        order="ratio_major",
        rounding="none",
        center_shift=0.5,
        step="stride",
    )


def retinanet() -> BoxDelta:
    """torchvision's ``retinanet_resnet50_fpn``."""
    sizes = [(x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512)]
    anchors = SizedAnchors(
        kind="sized",
        levels=tuple(
            SizedLevel(stride=stride, sizes=of_level, aspect_ratios=(0.5, 1.0, 2.0))
            for stride, of_level in zip((8, 16, 32, 64, 128), sizes, strict=True)
        ),
        order="ratio_major",
        rounding="half_even",
        center_shift=0.0,
        step="spread_floor",
    )
    return box_delta(anchors=anchors, clip_to_row=True)


def ssd(anchors: DefaultBoxes) -> BoxDelta:
    """torchvision's SSD: variances 0.1, 0.1, 0.2, 0.2."""
    return box_delta(
        anchors=anchors,
        weights=(10.0, 10.0, 5.0, 5.0),
        class_activation="softmax",
        background="first",
        clip_to_row=True,
    )


def ssd300() -> BoxDelta:
    """torchvision's ``ssd300_vgg16``."""
    ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
    return ssd(
        DefaultBoxes(
            kind="default_boxes",
            levels=tuple(
                DefaultLevel(stride=stride, aspect_ratios=of_level)
                for stride, of_level in zip((8, 16, 32, 64, 100, 300), ratios, strict=True)
            ),
            scales=(0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
            clip=True,
            step="stride",
        )
    )


def ssdlite() -> BoxDelta:
    """torchvision's ``ssdlite320_mobilenet_v3_large``."""
    return ssd(
        DefaultBoxes(
            kind="default_boxes",
            levels=tuple(DefaultLevel(stride=s, aspect_ratios=(2.0, 3.0)) for s in (16, 32, 64, 128, 256, 512)),
            scales=(*(0.2 + 0.75 * k / 5 for k in range(6)), 1.0),
            clip=True,
            step="spread",
        )
    )


def faster_rcnn(**over: Any) -> BoxDelta:
    """The second stage of torchvision's Faster R-CNN."""
    fields: dict[str, Any] = {
        "classes": "class_logits",
        "deltas": "box_regression",
        "proposals": "proposals",
        "anchors": None,
        "deltas_per": "column",
        "weights": (10.0, 10.0, 5.0, 5.0),
        "class_activation": "softmax",
        "background": "first",
        "clip_to_row": True,
        "min_side": 0.01,
    }
    return box_delta(**(fields | over))


PUBLISHED = {"retinanet": retinanet(), "ssd300": ssd300(), "ssdlite": ssdlite(), "faster_rcnn": faster_rcnn()}
# What torchvision's final results are made with: IoU threshold, detections.
FINAL = {"retinanet": (0.5, 300), "ssd300": (0.45, 200), "ssdlite": (0.55, 300), "faster_rcnn": (0.5, 100)}


def load(name: str) -> tuple[dict[str, AnyArray], tuple[int, int]]:
    with np.load(FIXTURES / f"{name}.npz") as fixture:
        arrays = dict(fixture)
    return arrays, (int(arrays["row_hw"][0]), int(arrays["row_hw"][1]))


def shift_of(spec: BoxDelta) -> int:
    """torchvision's label of class id 0."""
    return 1 if spec.background == "first" else 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_candidate_is_that_of_torchvision(name: str) -> None:
    spec, (fixture, row_hw) = PUBLISHED[name], load(name)
    found = decode(fixture, spec, row_hw=row_hw, score_threshold=0.3)
    assert len(found) == len(fixture["all_scores"]) > 40
    order, expected = best_first(found.scores), np.argsort(-fixture["all_scores"], kind="stable")
    # Both compute scores in float32, with another exponential; torchvision computes boxes in float32, of up to 320.
    assert_allclose(found.scores[order], fixture["all_scores"][expected], rtol=2e-6)
    assert_allclose(found.boxes[order], fixture["all_boxes"][expected], atol=2e-4)
    assert_array_equal(found.class_ids[order] + shift_of(spec), fixture["all_labels"][expected])


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_left_after_suppression_is_that_of_torchvision(name: str) -> None:
    spec, (fixture, row_hw) = PUBLISHED[name], load(name)
    iou_threshold, most = FINAL[name]
    found = decode(fixture, spec, row_hw=row_hw, score_threshold=0.3)
    kept = batched_nms(
        found.boxes,
        found.scores,
        found.class_ids,
        iou_threshold=iou_threshold,
        class_agnostic=False,
        candidates=len(found),
    )[:most]
    assert len(kept) < len(found)
    assert_allclose(found.boxes[kept], fixture["final_boxes"], atol=2e-4)  # float32 in torchvision
    assert_array_equal(found.class_ids[kept] + shift_of(spec), fixture["final_labels"])


@pytest.mark.parametrize("name", ["retinanet", "ssd300", "ssdlite"])
def test_anchors_of_a_published_model_are_its_own(name: str) -> None:
    anchors, (fixture, row_hw) = PUBLISHED[name].anchors, load(name)
    assert anchors is not None
    assert_allclose(make_anchors(anchors, row_hw).all(), fixture["anchors"], atol=1e-4)  # SSD's are float32 fractions


# --- the naive loop ---------------------------------------------------------------------------------------------------


def random_outputs(spec: BoxDelta, row_hw: tuple[int, int], *, seed: int, spread: float) -> dict[str, AnyArray]:
    rng = np.random.default_rng(seed)
    columns = 4
    count = len(make_anchors(spec.anchors, row_hw)) if spec.anchors else int(rng.integers(0, 20))
    classes = rng.normal(0, spread, (count, columns))
    if spec.class_activation == "none":
        classes = rng.uniform(0, 1, (count, columns))
    boxes = {"anchor": 1, "column": columns, "class": columns - (spec.background != "none")}[spec.deltas_per]
    outputs = {"cls_logits": f32(classes), "bbox_regression": f32(rng.normal(0, 1, (count, 4 * boxes)))}
    if spec.proposals:
        corners = np.sort(rng.uniform(-10, 60, (count, 2, 2)), axis=1)
        outputs["proposals"] = f32(corners.reshape(count, 4))
    return outputs


@given(
    seed=st.integers(0, 2**32 - 1),
    row_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    spread=st.sampled_from([1.0, 6.0]),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.6, 0.95]),
    proposals=st.sampled_from([None, "proposals"]),
    deltas_per=st.sampled_from(["anchor", "column", "class"]),
    class_activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background=st.sampled_from(["first", "last", "none"]),
    weights=st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (1.0, 2.0, 3.0, 4.0)]),
    max_log_scale=st.sampled_from([None, 0.5, LIMIT]),
    clip_to_row=st.booleans(),
)
def test_random_outputs_decode_as_the_naive_loop(
    seed: int, row_hw: tuple[int, int], spread: float, threshold: float, proposals: str | None, **fields: Any
) -> None:
    spec = box_delta(proposals=proposals, anchors=None if proposals else small_anchors(), **fields)
    outputs = random_outputs(spec, row_hw, seed=seed, spread=spread)
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=threshold)
    naive_anchors.agree(found, naive_anchors.box_delta(outputs, spec, row_hw=row_hw, score_threshold=threshold))
    assert found.num_classes == 4 - (spec.background != "none")


@given(seed=st.integers(0, 2**32 - 1), weights=st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]))
def test_encoded_boxes_come_back(seed: int, weights: tuple[float, ...]) -> None:
    rng, row_hw = np.random.default_rng(seed), (48, 64)
    spec = box_delta(weights=weights, max_log_scale=None)
    anchors = make_anchors(small_anchors(), row_hw).all()
    corners = rng.uniform(0, 64, (len(anchors), 2))
    boxes = np.concatenate((corners, corners + rng.uniform(1, 60, (len(anchors), 2))), axis=1)
    outputs = {
        "cls_logits": f32(np.full((len(anchors), 1), 3.0)),
        "bbox_regression": f32(naive_anchors.encode_deltas(boxes, anchors, weights)),
    }
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=0.5)
    assert_allclose(found.boxes, boxes, atol=1e-4)  # float32 deltas of boxes up to 124


# --- one fact each ----------------------------------------------------------------------------------------------------


def one_row(**over: Any) -> dict[str, AnyArray]:
    """Outputs for a row of one cell, 16 x 16: two anchors, no object."""
    return {"cls_logits": f32(np.full((2, 3), -9.0)), "bbox_regression": f32(np.zeros((2, 4)))} | over


def run(outputs: dict[str, AnyArray], spec: BoxDelta, *, score_threshold: float = 0.5) -> Candidates:
    return decode(outputs, spec, row_hw=(16, 16), score_threshold=score_threshold)


def test_an_anchor_is_a_candidate_of_each_class_at_or_above_the_threshold() -> None:
    found = run(one_row(cls_logits=f32([[0.0, -1.0, 2.0], [-9.0, -9.0, -9.0]])), box_delta())
    assert found.class_ids.tolist() == [0, 2]
    assert found.boxes[0].tolist() == found.boxes[1].tolist()


def test_nothing_above_the_threshold_is_no_candidate() -> None:
    found = run(one_row(), box_delta())
    assert (found.boxes.shape, found.scores.shape, found.num_classes) == ((0, 4), (0,), 3)


def test_no_proposals_are_no_candidates() -> None:
    outputs = {
        "class_logits": f32(np.empty((0, 5))),
        "box_regression": f32(np.empty((0, 20))),
        "proposals": f32(np.empty((0, 4))),
    }
    found = run(outputs, faster_rcnn())
    assert (len(found), found.num_classes) == (0, 4)


def test_a_box_with_a_short_side_is_dropped() -> None:
    outputs = {
        "class_logits": f32([[0.0, 9.0], [0.0, 9.0], [0.0, 9.0]]),
        "box_regression": f32(np.zeros((3, 8))),
        "proposals": f32([[2, 2, 4, 8], [2, 2, 5, 8], [2, 2, 8, 4]]),
    }
    assert run(outputs, faster_rcnn(min_side=3.0)).boxes.tolist() == [[2, 2, 5, 8]]


def test_a_box_is_clipped_before_its_side_is_measured() -> None:
    outputs = {
        "class_logits": f32([[0.0, 9.0]]),
        "box_regression": f32(np.zeros((1, 8))),
        "proposals": f32([[15, 2, 30, 8]]),
    }
    assert len(run(outputs, faster_rcnn(min_side=3.0))) == 0
    assert len(run(outputs, faster_rcnn(min_side=3.0, clip_to_row=False))) == 1


def test_deltas_of_a_class_count_the_background_column_or_not() -> None:
    deltas = f32([[*(0, 0, 0, 0), *(10, 0, 0, 0), *(20, 0, 0, 0)]])
    outputs = {
        "class_logits": f32([[0.0, 0.0, 9.0]]),
        "box_regression": deltas,
        "proposals": f32([[0, 0, 4, 4]]),
    }
    column = run(outputs, faster_rcnn(clip_to_row=False))
    by_class = run(outputs | {"box_regression": deltas[:, :8]}, faster_rcnn(clip_to_row=False, deltas_per="class"))
    assert column.boxes.tolist() == [[8, 0, 12, 4]]  # 20 / 10 * 4 to the right: the third column
    assert by_class.boxes.tolist() == [[4, 0, 8, 4]]  # the second class


@pytest.mark.parametrize(
    ("outputs", "spec", "words"),
    [
        pytest.param(
            one_row(cls_logits=f32(np.zeros((3, 3)))),
            box_delta(),
            "output 'cls_logits' must have one line for each of the 2 anchors of a row of 16 x 16, got 3",
            id="lines",
        ),
        pytest.param(
            one_row(cls_logits=f32(np.zeros((2, 3, 1)))),
            box_delta(),
            r"output 'cls_logits' must have shape \(any, any\) a row, got \(2, 3, 1\)",
            id="axes",
        ),
        pytest.param(
            one_row(bbox_regression=f32(np.zeros((3, 4)))),
            box_delta(),
            r"output 'bbox_regression' must have shape \(2, 4\) a row, got \(3, 4\)",
            id="lines of deltas",
        ),
        pytest.param(
            one_row(),
            box_delta(deltas_per="column"),
            r"output 'bbox_regression' must have shape \(2, 12\) a row, got \(2, 4\)",
            id="deltas of every column",
        ),
        pytest.param(
            one_row(),
            box_delta(deltas_per="class", background="last"),
            r"output 'bbox_regression' must have shape \(2, 8\) a row, got \(2, 4\)",
            id="deltas of every class",
        ),
        pytest.param(
            one_row(proposals=f32(np.zeros((2, 5)))),
            box_delta(anchors=None, proposals="proposals"),
            r"output 'proposals' must have shape \(any, 4\) a row, got \(2, 5\)",
            id="proposals",
        ),
        pytest.param(
            one_row(),
            box_delta(anchors=None, proposals="proposals"),
            r"must answer output 'proposals', got \['bbox_regression', 'cls_logits'\]",
            id="no proposals",
        ),
        pytest.param(
            one_row(bbox_regression=f32([[np.nan] * 4, [0] * 4])),
            box_delta(),
            "output 'bbox_regression' must be finite, got 4 NaN",
            id="NaN",
        ),
        pytest.param(
            one_row(cls_logits=f32(np.full((2, 3), 9.0)), bbox_regression=f32([[0, 0, 200, 0], [0] * 4])),
            box_delta(max_log_scale=None),
            "boxes from output 'bbox_regression' must be finite",
            id="a side beyond float32",
        ),
    ],
)
def test_outputs_that_cannot_be_decoded_are_refused(outputs: dict[str, AnyArray], spec: BoxDelta, words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        run(outputs, spec)


@pytest.mark.parametrize("over", [{"anchors": None}, {"proposals": "proposals"}], ids=["neither", "both"])
def test_boxes_are_against_anchors_or_proposals(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of proposals and anchors must be given"):
        box_delta(**over)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_spec_survives_json(name: str) -> None:
    decoder: TypeAdapter[Any] = TypeAdapter(Decoder)
    assert decoder.validate_json(PUBLISHED[name].model_dump_json()) == PUBLISHED[name]


def test_the_outputs_that_it_reads() -> None:
    assert box_delta().output_names == ("cls_logits", "bbox_regression")
    assert faster_rcnn().output_names == ("class_logits", "box_regression", "proposals")
