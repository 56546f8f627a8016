"""Text probability maps: a published decoder's rectangles; drawn ones come back, grown, in a fixed order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.probability_map import decode
from pipelines.errors import ModelOutputError
from pipelines.types import AnyArray, FloatArray
from tests import reference
from tests.builders import f32, probability_map

FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders" / "probability_map"
ROW_HW = (96, 160)


def blank() -> FloatArray:
    return np.zeros(ROW_HW, np.float32)


def run(probabilities: AnyArray, *, score_threshold: float = 0.5, **over: Any) -> Candidates:
    spec = probability_map(**({"dilate": False} | over))
    outputs = {"probabilities": probabilities[np.newaxis]}
    return decode(outputs, spec, row_hw=ROW_HW, score_threshold=score_threshold)


def test_an_upright_region_becomes_its_rectangle_grown_by_hand() -> None:
    probabilities = blank()
    probabilities[20:31, 40:81] = 0.75  # pixel centres 40..80, 20..30: 40 x 10
    found = run(probabilities, unclip_ratio=1.5)
    # d = 40 * 10 * 1.5 / 100 = 6
    assert found.boxes.tolist() == [[34, 14, 86, 36]]
    assert found.polygons is not None
    assert found.polygons[0].tolist() == [[34, 14], [86, 14], [86, 36], [34, 36]]
    assert found.scores.tolist() == [0.75]
    assert found.class_ids.tolist() == [0]


@pytest.mark.parametrize("name", ["plain", "dilated"])
def test_regions_become_the_rectangles_that_rapidocr_makes_of_them(name: str) -> None:
    fixture = np.load(FIXTURES / "rapidocr.npz")
    probabilities = f32(fixture[name])
    spec = probability_map(dilate=name == "dilated", unclip_ratio=1.6)
    outputs = {"probabilities": probabilities[np.newaxis]}
    found = decode(outputs, spec, row_hw=probabilities.shape, score_threshold=0.5)
    assert found.polygons is not None
    assert len(fixture[f"{name}_polygons"]) >= 7
    np.testing.assert_allclose(found.scores, fixture[f"{name}_scores"], rtol=1e-6)
    # Their polygon library cuts corners to whole pixels before it grows them, and they round after.
    np.testing.assert_allclose(np.array(found.polygons), fixture[f"{name}_polygons"], atol=2.5)


def lines_of_text(random: np.random.Generator) -> FloatArray:
    """A map with up to eight regions, some of them touching, soft at their edges."""
    probabilities = blank()
    for _ in range(random.integers(1, 9)):
        center, sides = random.uniform((10, 10), (150, 86)), random.uniform((8, 4), (50, 16))
        corners = cv2.boxPoints((center.tolist(), sides.tolist(), random.uniform(-90, 90)))
        cv2.fillPoly(probabilities, [corners.astype(np.int32)], random.uniform(0.3, 1))
    return f32(cv2.GaussianBlur(probabilities, (5, 5), 0))


@given(st.integers(0, 10_000), st.floats(0.5, 2.5), st.booleans())
def test_decoding_equals_the_naive_steps(seed: int, ratio: float, dilate: bool) -> None:
    probabilities = lines_of_text(np.random.default_rng(seed))
    found = run(probabilities, unclip_ratio=ratio, dilate=dilate)
    spec = probability_map(unclip_ratio=ratio, dilate=dilate)
    expected = reference.probability_map(probabilities, spec, score_threshold=0.5)
    np.testing.assert_allclose(found.scores, f32([score for _, _, score in expected]), rtol=1e-6)
    assert found.polygons is not None
    for polygon, (center, sides, _) in zip(found.polygons, expected, strict=True):
        np.testing.assert_allclose(polygon.mean(axis=0), center, atol=0.05)
        ours = sorted(np.linalg.norm(polygon[1:3] - polygon[0:2], axis=1))
        np.testing.assert_allclose(ours, sorted(sides), atol=0.05)


def test_dilation_widens_a_region_by_a_pixel_to_the_right_and_below() -> None:
    probabilities = blank()
    probabilities[20:31, 40:81] = 0.75
    plain, wider = run(probabilities, unclip_ratio=0.001), run(probabilities, unclip_ratio=0.001, dilate=True)
    # a growth of 0.001 * 400 / 100 px stands for none.
    np.testing.assert_allclose(wider.boxes - plain.boxes, [[0, 0, 1, 1]], atol=0.001)


@given(st.floats(-89, 89), st.floats(30, 60), st.floats(8, 20), st.floats(0.5, 2.5))
def test_growing_the_sides_equals_the_smallest_rectangle_around_round_joins(
    angle: float, length: float, height: float, ratio: float
) -> None:
    # The construction of PP-OCR, finely sampled: a circle of radius d around every corner, then minAreaRect.
    corners = cv2.boxPoints(((80, 48), (length, height), angle))
    distance = length * height * ratio / (2 * (length + height))
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = distance * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    outline = f32((corners[:, None] + circle[None]).reshape(-1, 2))
    (_, sides, _) = cv2.minAreaRect(outline)
    expected = sorted((length + 2 * distance, height + 2 * distance))
    # 720 points a circle miss its rim by d * (1 - cos(pi / 720)) < 1e-3 px; OpenCV works in float32.
    np.testing.assert_allclose(sorted(sides), expected, atol=0.02)


@given(st.floats(-80, 80), st.floats(40, 70), st.floats(10, 18))
def test_a_tilted_region_comes_back_with_its_corners_clockwise_from_the_top_left(
    angle: float, length: float, height: float
) -> None:
    probabilities = blank()
    corners = cv2.boxPoints(((80, 48), (length, height), angle))
    cv2.fillPoly(probabilities, [np.round(corners).astype(np.int32)], (0.9,))
    found = run(probabilities, unclip_ratio=0.001)
    assert found.polygons is not None
    (polygon,) = found.polygons
    distances = np.linalg.norm(corners[:, None] - polygon[None], axis=2)
    assert distances.min(axis=0).max() < 2.5  # corners are drawn on whole pixels and the fit is to pixel centres
    following = np.roll(polygon, -1, axis=0)
    assert (polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]).sum() > 0  # clockwise: y points down
    top_left, top_right, bottom_right, bottom_left = polygon
    assert max(top_left[0], bottom_left[0]) <= min(top_right[0], bottom_right[0])
    assert top_left[1] <= bottom_left[1]
    assert top_right[1] <= bottom_right[1]


def test_the_score_is_the_mean_inside_the_rectangle() -> None:
    probabilities = blank()
    probabilities[20:31, 40:60] = 0.5
    probabilities[20:31, 60:80] = 1.0
    assert run(probabilities).scores.tolist() == [0.75]


def test_a_region_at_the_score_threshold_counts() -> None:
    probabilities = blank()
    probabilities[20:31, 40:81] = 0.75
    assert len(run(probabilities, score_threshold=0.75)) == 1
    assert len(run(probabilities, score_threshold=0.7501)) == 0


def test_a_pixel_at_the_binarize_threshold_does_not_count() -> None:
    probabilities = blank()
    probabilities[20:31, 40:81] = 0.5
    assert len(run(probabilities, binarize_threshold=0.5)) == 0
    assert len(run(probabilities, binarize_threshold=0.49)) == 1


@pytest.mark.parametrize(
    ("rows", "ratio", "count"),
    [
        pytest.param(3, 1.6, 0, id="2 px between pixel centres: below 3"),
        pytest.param(4, 1.6, 1, id="3 px, grown to 7.5"),
        pytest.param(4, 0.5, 0, id="3 px, grown to 4.4: below 5"),
    ],
)
def test_thin_regions_are_dropped(rows: int, ratio: float, count: int) -> None:
    probabilities = blank()
    probabilities[20 : 20 + rows, 40:81] = 0.9
    assert len(run(probabilities, unclip_ratio=ratio)) == count


def test_no_more_contours_than_max_candidates_are_looked_at() -> None:
    probabilities = blank()
    for left in (10, 50, 90):
        probabilities[20:40, left : left + 30] = 0.9
    assert len(run(probabilities)) == 3
    assert len(run(probabilities, max_candidates=2)) == 2


def test_a_region_at_the_edge_grows_past_it() -> None:
    probabilities = blank()
    probabilities[0:20, 0:40] = 0.9
    found = run(probabilities)
    assert (found.boxes[0, :2] < 0).all()


def test_a_blank_map_gives_empty_arrays_of_the_right_shape() -> None:
    found = run(blank())
    assert found.boxes.shape == (0, 4)
    assert found.scores.dtype == np.float32
    assert found.polygons == ()


def test_the_map_is_left_alone() -> None:
    probabilities = f32(np.random.default_rng(0).uniform(0, 1, ROW_HW))
    before = probabilities.copy()
    run(probabilities, dilate=True)
    np.testing.assert_array_equal(probabilities, before)


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        pytest.param(np.full(ROW_HW, np.nan, np.float32), "must be finite", id="NaN"),
        pytest.param(np.full(ROW_HW, -3, np.float32), "probabilities from 0 to 1, got -3 to -3", id="logits"),
        pytest.param(
            np.zeros((24, 40), np.float32), r"shape \(1, 96, 160\) a row, got \(1, 24, 40\)", id="a smaller map"
        ),
    ],
)
def test_a_map_of_another_kind_is_refused(probabilities: AnyArray, words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        run(probabilities)
