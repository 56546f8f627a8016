import numpy as np
import pytest

from export.doctor.cells import CellLayout, cell_layouts, map_stride


@pytest.mark.parametrize(
    ("count", "side", "strides", "per_cell"),
    [
        (8_400, 640, (8, 16, 32), 1),
        (25_200, 640, (8, 16, 32), 3),
        (16_800, 640, (8, 16, 32), 2),
        (3_549, 416, (8, 16, 32), 1),
        (8_525, 640, (8, 16, 32, 64, 128), 1),
        (76_725, 640, (8, 16, 32, 64, 128), 9),
        (102_000, 1280, (8, 16, 32, 64), 3),
        (2_535, 416, (16, 32), 3),
    ],
)
def test_published_counts_are_recognised(count: int, side: int, strides: tuple[int, ...], per_cell: int) -> None:
    best = cell_layouts(count, (side, side))[0]
    assert (best.strides, best.per_cell) == (strides, per_cell)


def test_a_row_that_is_no_multiple_of_the_stride_has_one_cell_more() -> None:
    assert CellLayout((8,), 1, (33, 40)).grids_hw == ((5, 5),)


def test_a_count_of_no_grid_is_none() -> None:
    assert cell_layouts(8_732, (300, 300)) == ()
    assert cell_layouts(0, (640, 640)) == ()


def test_centres_are_as_a_naive_loop_lists_them() -> None:
    layout = CellLayout((16, 32), 2, (32, 64))
    expected = [
        ((x + 0.5) * stride, (y + 0.5) * stride)
        for stride in (16, 32)
        for y in range(32 // stride)
        for x in range(64 // stride)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(layout.centers(), expected)


def test_the_words_show_the_sum() -> None:
    assert str(cell_layouts(8_400, (640, 640))[0]).startswith(
        "8400 = 80x80 + 40x40 + 20x20, the cells of strides 8, 16"
    )


@pytest.mark.parametrize(("map_hw", "stride"), [((24, 32), 4), ((96, 128), 1), ((12, 16), 8), ((12, 15), None)])
def test_a_maps_stride_fits_both_sides(map_hw: tuple[int, int], stride: int | None) -> None:
    assert map_stride(map_hw, (96, 128)) == stride
