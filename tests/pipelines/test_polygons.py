"""Outlines of masks: exact at tolerance 0, bounded beyond it, and filled as other libraries fill them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.polygons import Polygon, ring_area, to_mask, to_polygons
from pipelines.types import AnyArray, FloatArray
from tests.builders import f32

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14))
SQUARE = f32([[1, 1], [4, 1], [4, 4], [1, 4]])
TOLERANCES = [0.5, 1.0, 2.5]


def blobs(hw: tuple[int, int] = (120, 200)) -> AnyArray:
    """Discs with a hole, a band that leaves the image, and single pixels."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    far = [np.hypot(y - cy, x - cx) for cy, cx in ((40, 60), (80, 150))]
    mask = (far[0] < 35) & (far[0] > 18) | (far[1] < 30) | (np.abs(x - y - 120) < 3)
    mask[5, 5] = mask[5, 9] = mask[6, 10] = True
    return mask


def length(ring: FloatArray) -> float:
    return float(np.hypot(*(ring - np.roll(ring, 1, axis=0)).T).sum())


def rings(polygons: tuple[Polygon, ...]) -> list[FloatArray]:
    return [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]


def is_inside(x: float, y: float, ring: FloatArray) -> bool:
    """The ray to the left, edge by edge."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
            crossings += 1
    return crossings % 2 == 1


@given(MASKS)
def test_an_exact_outline_gives_the_mask_back_to_the_bit(mask: AnyArray) -> None:
    polygons = to_polygons(mask, tolerance_px=0)
    np.testing.assert_array_equal(to_mask(polygons, mask.shape), mask)


@given(MASKS)
def test_the_area_of_an_exact_outline_is_the_number_of_pixels(mask: AnyArray) -> None:
    assert sum(polygon.area for polygon in to_polygons(mask, tolerance_px=0)) == mask.sum()


@given(MASKS)
def test_there_is_a_polygon_for_each_region_that_touches_no_other(mask: AnyArray) -> None:
    regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert len(to_polygons(mask, tolerance_px=0)) == regions


@pytest.mark.parametrize("tolerance_px", TOLERANCES)
@given(mask=MASKS)
def test_a_simple_outline_changes_the_area_by_at_most_tolerance_times_length(
    tolerance_px: float, mask: AnyArray
) -> None:
    exact, simple = (rings(to_polygons(mask, tolerance_px=tolerance)) for tolerance in (0, tolerance_px))
    assert len(exact) == len(simple)
    for before, after in zip(exact, simple, strict=True):
        assert abs(ring_area(before) - ring_area(after)) <= tolerance_px * length(before)


@pytest.mark.parametrize("tolerance_px", TOLERANCES)
def test_points_that_are_left_out_lie_within_the_tolerance(tolerance_px: float) -> None:
    exact, simple = (rings(to_polygons(blobs(), tolerance_px=tolerance)) for tolerance in (0, tolerance_px))
    assert sum(map(len, simple)) < sum(map(len, exact))
    for before, after in zip(exact, simple, strict=True):
        away = [abs(cv2.pointPolygonTest(after, point, measureDist=True)) for point in before.tolist()]
        assert max(away) <= tolerance_px + 1e-5  # OpenCV measures in float32


@pytest.mark.parametrize(("tolerance_px", "area_share"), [(0.5, 0.01), (1.0, 0.02), (2.0, 0.04)])
def test_the_area_of_a_large_region_is_nearly_kept(tolerance_px: float, area_share: float) -> None:
    mask = blobs((720, 1280))
    exact, simple = (
        sum(polygon.area for polygon in to_polygons(mask, tolerance_px=tolerance)) for tolerance in (0, tolerance_px)
    )
    assert simple == pytest.approx(exact, rel=area_share)


def test_a_ring_by_hand() -> None:
    mask = np.zeros((6, 7), np.uint8)
    mask[1:5, 2:6] = 1
    mask[2:4, 3:5] = 0
    (polygon,) = to_polygons(mask, tolerance_px=0)
    assert sorted(map(tuple, polygon.outer.tolist())) == [(2, 1), (2, 5), (6, 1), (6, 5)]
    (hole,) = polygon.holes
    assert sorted(map(tuple, hole.tolist())) == [(3, 2), (3, 4), (5, 2), (5, 4)]
    assert polygon.area == 12


def test_an_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    mask = np.ones((9, 9), bool)
    mask[1:8, 1:8] = False
    mask[4, 4] = True
    assert sorted(polygon.area for polygon in to_polygons(mask, tolerance_px=0)) == [1, 32]


def test_a_small_region_does_not_vanish_however_large_the_tolerance() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    (polygon,) = to_polygons(mask, tolerance_px=50)
    assert polygon.area == 1


@pytest.mark.parametrize("hw", [(0, 4), (3, 0), (3, 4)])
def test_no_mask_has_no_polygons_and_the_other_way_round(hw: tuple[int, int]) -> None:
    assert to_polygons(np.zeros(hw, bool), tolerance_px=0) == ()
    np.testing.assert_array_equal(to_mask((), hw), np.zeros(hw, bool))


@given(st.lists(st.tuples(st.integers(-8, 48), st.integers(-8, 48)), min_size=3, max_size=7))
def test_filling_equals_a_ray_for_every_pixel(points: list[tuple[int, int]]) -> None:
    ring = f32(points) / np.float32(4)  # quarters: centres lie on edges too
    expected = [[is_inside(x + 0.5, y + 0.5, ring) for x in range(10)] for y in range(9)]
    np.testing.assert_array_equal(to_mask((Polygon(ring),), (9, 10)), expected)


@pytest.mark.parametrize("seed", range(20))
def test_filling_equals_scikit_image_s(seed: int) -> None:
    draw = pytest.importorskip("skimage.draw")
    random = np.random.default_rng(seed)
    ring = random.uniform(-5, 45, (random.integers(3, 9), 2)).astype(np.float32)
    # There a pixel is a point at whole numbers, and rows come first.
    expected = draw.polygon2mask((36, 40), ring[:, ::-1] - 0.5)
    np.testing.assert_array_equal(to_mask((Polygon(ring),), (36, 40)), expected)


def test_a_region_in_the_corner_of_a_large_image_is_filled_as_in_a_small_one() -> None:
    ring = np.random.default_rng(4).uniform(-3, 12, (9, 2)).astype(np.float32)
    far = ring + f32([4080, 2040])
    np.testing.assert_array_equal(
        to_mask((Polygon(far),), (2048, 4096))[2040:, 4080:],
        to_mask((Polygon(far - f32([4080, 2040])),), (8, 16)),
    )


@pytest.mark.parametrize("shift", [-20, 20])
def test_a_region_beyond_the_image_fills_nothing(shift: float) -> None:
    assert not to_mask((Polygon(SQUARE + np.float32(shift)),), (8, 8)).any()


def test_overlapping_polygons_are_joined() -> None:
    mask = to_mask((Polygon(SQUARE), Polygon(SQUARE + np.float32(1))), (8, 8))
    assert mask.sum() == 9 + 9 - 4


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=8))
def test_the_area_of_a_ring_is_opencv_s(points: list[tuple[int, int]]) -> None:
    ring = f32(points)
    assert ring_area(ring) == cv2.contourArea(ring)


@pytest.mark.parametrize("ring", [SQUARE[:2], SQUARE.astype(np.float64), SQUARE[:, :1], SQUARE.ravel()])
def test_what_is_no_ring_is_refused(ring: AnyArray) -> None:
    for outer, holes in ((ring, ()), (SQUARE, (ring,))):
        with pytest.raises(ValueError, match=r"a ring must be float32 \(3 or more, 2\)"):
            Polygon(outer, holes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_ring_without_a_place_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a ring must be finite"):
        Polygon(np.where(SQUARE == 4, np.float32(value), SQUARE))


@pytest.mark.parametrize("tolerance_px", [-1.0, np.nan, np.inf])
def test_a_tolerance_that_is_no_length_is_refused(tolerance_px: float) -> None:
    with pytest.raises(ValueError, match="tolerance_px must be 0 or more"):
        to_polygons(np.ones((3, 3), bool), tolerance_px=tolerance_px)
