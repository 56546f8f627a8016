"""YOLOv5 heads: a cell computed by hand, the naive loop, a round trip, and what a published decoder makes of maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.yolo_v5 import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import YoloV5
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_yolo
from tests.pipelines.decoders.naive_yolo import FIXTURES, QUIET, SURE, logit, require_equal

NAMES = ("fine", "coarse")
STRIDES = (8, 16)
ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))
ROW_HW = (32, 48)


def maps_spec(*, multi_label: bool = False, **over: Any) -> YoloV5:
    fields = {"form": "maps", "outputs": NAMES, "strides": STRIDES, "anchors": ANCHORS, "channel_order": "chw"}
    return YoloV5.model_validate({"kind": "yolo_v5", "layout": fields | over, "multi_label": multi_label})


def rows_spec(*, multi_label: bool = False) -> YoloV5:
    layout = {"form": "decoded", "output": "rows"}
    return YoloV5.model_validate({"kind": "yolo_v5", "layout": layout, "multi_label": multi_label})


def quiet_grids(num_classes: int = 3) -> list[AnyArray]:
    """Grids ``(A, h, w, 5 + C)`` without an object."""
    return [np.full((2, ROW_HW[0] // s, ROW_HW[1] // s, 5 + num_classes), QUIET, np.float32) for s in STRIDES]


def stored(grids: list[AnyArray], *, channel_order: str = "chw") -> dict[str, AnyArray]:
    """Lay ``(A, h, w, 5 + C)`` grids out as the graph stores them."""
    if channel_order == "chw":
        planes = [np.moveaxis(grid, -1, 1) for grid in grids]
        grids = [p.reshape(-1, *p.shape[2:]) for p in planes]
    return dict(zip(NAMES, grids, strict=True))


def run(grids: list[AnyArray], spec: YoloV5, *, score_threshold: float = 0.25) -> Candidates:
    return decode(stored(grids), spec, row_hw=ROW_HW, score_threshold=score_threshold)


def run_rows(rows: Any, spec: YoloV5) -> Candidates:
    return decode({"rows": f32(rows)}, spec, row_hw=ROW_HW, score_threshold=0.25)


def test_a_cell_computed_by_hand() -> None:
    grids = quiet_grids()
    grids[1][1, 1, 2] = [0, -np.log(3), 0, np.log(3), np.log(9), QUIET, 0, QUIET]
    found = run(grids, maps_spec())
    # Cell x = 2, y = 1 of stride 16, anchor 62 x 45. sigmoid: tx 1/2, ty 1/4, tw 1/2, th 3/4, objectness 9/10.
    # Centre ((1 - 0.5 + 2) * 16, (0.5 - 0.5 + 1) * 16) = (40, 16); sides 1 * 62 and 1.5 * 1.5 * 45 = 101.25.
    np.testing.assert_allclose(found.boxes, [[9, 16 - 50.625, 71, 16 + 50.625]], rtol=1e-6)  # float32 logits
    np.testing.assert_allclose(found.scores, [0.9 * 0.5], rtol=1e-6)
    assert found.class_ids.tolist() == [1]
    assert found.num_classes == 3


def test_maps_decode_as_libreyolo_decodes_them() -> None:
    fixture = np.load(FIXTURES / "yolo_v5" / "libreyolo.npz")
    spec = maps_spec(
        outputs=("raw_8", "raw_16", "raw_32"),
        strides=(8, 16, 32),
        anchors=(
            ((12.0, 16.0), (19.0, 36.0), (40.0, 28.0)),
            ((36.0, 75.0), (76.0, 55.0), (72.0, 146.0)),
            ((142.0, 110.0), (192.0, 243.0), (459.0, 401.0)),
        ),
        multi_label=True,
    )
    found = decode(dict(fixture), spec, row_hw=(64, 96), score_threshold=0.3)
    places, class_ids = np.nonzero(fixture["scores"] >= 0.3)
    boxes = [naive_yolo.box_around(*box) for box in fixture["boxes_cxcywh"][places].tolist()]
    assert len(places) > 100
    require_equal(found, list(zip(boxes, fixture["scores"][places, class_ids], class_ids.tolist(), strict=True)))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from(["chw", "ahwc"]), st.booleans())
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, order: str, multi_label: bool) -> None:
    random = np.random.default_rng(seed)
    grids = [f32(random.normal(0, 1.5, grid.shape)) for grid in quiet_grids()]
    spec = maps_spec(channel_order=order, multi_label=multi_label)
    found = decode(stored(grids, channel_order=order), spec, row_hw=ROW_HW, score_threshold=threshold)
    expected = naive_yolo.yolo_v5(grids, strides=STRIDES, anchors=ANCHORS, threshold=threshold, multi_label=multi_label)
    require_equal(found, expected)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_decoded_rows_equal_the_naive_loop(seed: int, threshold: float, multi_label: bool) -> None:
    random = np.random.default_rng(seed)
    rows = f32(np.concatenate((random.uniform(-20, 100, (30, 4)), random.uniform(0, 1, (30, 4))), axis=1))
    found = decode({"rows": rows}, rows_spec(multi_label=multi_label), row_hw=ROW_HW, score_threshold=threshold)
    require_equal(found, naive_yolo.scored_rows(rows, threshold=threshold, multi_label=multi_label))


@given(st.integers(0, 10_000))
def test_boxes_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    grids, expected = quiet_grids(), []
    for place in random.permutation(grids[0][..., 0].size)[:8]:
        a, y, x = np.unravel_index(place, grids[0].shape[:3])
        cx, cy = (x + random.uniform(-0.45, 1.45)) * 8, (y + random.uniform(-0.45, 1.45)) * 8
        width, height = (random.uniform(0.1, 3.9) * side for side in ANCHORS[0][a])
        class_id = int(random.integers(3))
        grids[0][a, y, x, :5] = [
            logit((cx / 8 - x + 0.5) / 2),
            logit((cy / 8 - y + 0.5) / 2),
            logit((width / ANCHORS[0][a][0]) ** 0.5 / 2),
            logit((height / ANCHORS[0][a][1]) ** 0.5 / 2),
            SURE,
        ]
        grids[0][a, y, x, 5 + class_id] = SURE
        expected.append((int(place), (naive_yolo.box_around(cx, cy, width, height), 1.0, class_id)))
    require_equal(run(grids, maps_spec()), [candidate for _, candidate in sorted(expected)])


def test_of_equal_classes_the_lower_id_wins() -> None:
    found = run_rows([[5, 5, 2, 2, 1.0, 0.2, 0.7, 0.7]], rows_spec())
    assert found.class_ids.tolist() == [1]


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_row_whose_score_is_at_the_threshold_counts(multi_label: bool) -> None:
    found = run_rows([[5, 5, 2, 2, 0.25, 1, 0, 0], [5, 5, 2, 2, 0.5, 0, 0.5, 0]], rows_spec(multi_label=multi_label))
    assert found.scores.tolist() == [0.25, 0.25]


def test_every_class_at_the_threshold_counts_where_labels_are_many() -> None:
    found = run_rows([[5, 5, 2, 2, 0.5, 0.5, 0.25, 1.0]], rows_spec(multi_label=True))
    assert found.class_ids.tolist() == [0, 2]
    assert found.scores.tolist() == [0.25, 0.5]


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_quiet_head_gives_empty_arrays_of_the_right_shape(multi_label: bool) -> None:
    for found in (
        run(quiet_grids(), maps_spec(multi_label=multi_label)),
        run_rows(np.zeros((7, 8)), rows_spec(multi_label=multi_label)),
    ):
        assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
        assert (found.scores.shape, found.scores.dtype) == ((0,), np.float32)
        assert (found.class_ids.shape, found.class_ids.dtype) == ((0,), np.int64)
        assert found.num_classes == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_refused(bad: float) -> None:
    grids = quiet_grids()
    grids[1][0, 0, 0, 2] = bad
    with pytest.raises(ModelOutputError, match="'coarse' must be finite, got 1 NaN"):
        run(grids, maps_spec())


def test_a_box_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="boxes from output 'rows' must be finite"):
        run_rows([[3e38, 0, 3e38, 1, 1, 1]], rows_spec())


@pytest.mark.parametrize("column", [4, 5])
def test_decoded_scores_that_are_logits_are_refused(column: int) -> None:
    row = [5, 5, 2, 2, 0.9, 0.9]
    row[column] = 4.0
    with pytest.raises(ModelOutputError, match=r"'rows' must hold probabilities from 0 to 1, got 4 to 4"):
        run_rows([row], rows_spec())


@pytest.mark.parametrize("channels", [15, 10])
def test_channels_that_are_not_whole_anchors_are_refused(channels: int) -> None:
    outputs = {name: np.zeros((channels, 4, 6), np.float32) for name in NAMES}
    with pytest.raises(ModelOutputError, match=rf"\(5 \+ classes\) channels for each of 2 anchors, got {channels}"):
        decode(outputs, maps_spec(), row_hw=ROW_HW, score_threshold=0.5)


def test_grids_without_a_class_are_refused() -> None:
    outputs = stored(quiet_grids(num_classes=0), channel_order="ahwc")
    with pytest.raises(ModelOutputError, match=r"'fine' must have 5 \+ classes channels, got 5"):
        decode(outputs, maps_spec(channel_order="ahwc"), row_hw=ROW_HW, score_threshold=0.5)


def test_rows_without_a_class_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"'rows' must have 5 \+ classes columns, got 5"):
        run_rows(np.zeros((7, 5)), rows_spec())


def test_a_grid_of_another_stride_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must cover a row of 32 x 48 at stride 32, got 2 x 3 cells"):
        run(quiet_grids(), maps_spec(strides=(8, 32)))


def test_scales_with_different_classes_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"as many classes, got \[3, 4\]"):
        run([quiet_grids(3)[0], quiet_grids(4)[1]], maps_spec())


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param({"strides": (8,)}, "equally many, got 2, 1, 2", id="too few strides"),
        pytest.param({"anchors": (ANCHORS[0], ())}, "at least one pair", id="no anchors"),
    ],
)
def test_a_spec_whose_scales_do_not_match_is_refused(over: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        maps_spec(**over)


def test_a_spec_names_the_outputs_that_it_reads() -> None:
    assert maps_spec().output_names == NAMES
    assert rows_spec().output_names == ("rows",)
