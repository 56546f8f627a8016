"""A map of the row comes back onto the image, pixel under pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.geometry import Affine, place
from pipelines.masks import to_source
from pipelines.resample import RESAMPLERS, resize
from pipelines.specs import CenterCrop, Fit, Pad, Resample, Stretch
from pipelines.types import AnyArray, FloatArray
from tests.builders import letterbox

FITS: dict[str, Fit] = {
    "stretch": Stretch(kind="stretch", size_hw=(96, 128)),
    "letterbox": letterbox(),
    "letterbox_top_left": letterbox(pad_position="top_left"),
    "pad": Pad(kind="pad", multiple_of=32, pad_value=0, max_longer=128),
}


def ramp(size_hw: tuple[int, int], *, axis: int) -> FloatArray:
    """Each pixel holds the coordinate of its centre, 0 to 1 along ``axis``."""
    centres = (np.arange(size_hw[axis], dtype=np.float32) + 0.5) / size_hw[axis]
    return np.ascontiguousarray(np.broadcast_to(centres[:, None] if axis == 0 else centres, size_hw))


def row_ramp(affine: Affine, stride: int, *, axis: int) -> FloatArray:
    """A map of the row at ``stride`` that holds the source coordinate under each cell's centre, 0 to 1 in the image."""
    height, width = affine.dst_hw[0] // stride, affine.dst_hw[1] // stride
    centres = (np.mgrid[:height, :width].astype(np.float32) + 0.5) * stride  # (2, h, w) y, x in row pixels
    points = affine.points_to_source(np.stack((centres[1], centres[0]), axis=-1))
    return points[..., 1 - axis] / np.float32(affine.src_hw[axis])


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("axis", [0, 1])
@settings(deadline=None, max_examples=30)
@given(hw=st.tuples(st.integers(40, 300), st.integers(40, 300)))
def test_a_map_of_coordinates_comes_back_in_its_place(fit: Fit, stride: int, axis: int, hw: tuple[int, int]) -> None:
    affine = place(fit, hw)
    back = to_source(row_ramp(affine, stride, axis=axis), affine, "opencv_linear")
    assert back.shape == hw
    cells = affine.resized_hw[axis] / stride
    # The ends are clamped half a cell (and once more where the map goes through the row's size); between, it is linear.
    inner = slice(int(2 / cells * hw[axis]) + 1, -int(2 / cells * hw[axis]) - 1)
    window = (inner, slice(None)) if axis == 0 else (slice(None), inner)
    # 0.1 cell: OpenCV's positions are exact, but two linear resizes in a row bend the line at cell borders.
    np.testing.assert_allclose(back[window], ramp(hw, axis=axis)[window], rtol=0, atol=0.1 / cells)


@pytest.mark.parametrize("kernel", RESAMPLERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_part_that_shows_the_image_is_resized_alone(kernel: Resample, dtype: type) -> None:
    affine = place(letterbox(), (60, 120))  # 64 x 128 in a row of 96 x 128, 16 lines above and below
    mask: AnyArray = np.random.default_rng(2).integers(0, 2, (96, 128)).astype(dtype)
    np.testing.assert_array_equal(to_source(mask, affine, kernel), resize(mask[16:80], (60, 120), kernel))


@pytest.mark.parametrize("kernel", RESAMPLERS)
def test_padding_never_bleeds_into_the_image(kernel: Resample) -> None:
    affine = place(letterbox(), (60, 120))
    mask = np.zeros((24, 32), np.float32)
    mask[4:20] = 1  # stride 4: exactly the image
    np.testing.assert_allclose(to_source(mask, affine, kernel), 1, atol=1e-6)  # kernels' weights sum to 1 in float32


def test_an_edge_inside_a_cell_is_cut_at_the_row_s_resolution() -> None:
    affine = place(letterbox(), (70, 100))  # 90 x 128 at line 3: not a multiple of the stride
    assert affine.corner_yx == (3, 0)
    mask = np.random.default_rng(3).random((24, 32), np.float32)
    row = cv2.resize(mask, (128, 96), interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(row[3:93], (100, 70), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(to_source(mask, affine, "opencv_linear"), expected)


def test_a_map_of_the_image_s_own_size_comes_back_as_it_is() -> None:
    affine = place(Stretch(kind="stretch", size_hw=(30, 40)), (30, 40))
    mask = np.random.default_rng(4).random((30, 40), np.float32)
    np.testing.assert_array_equal(to_source(mask, affine, "nearest"), mask)


@pytest.mark.parametrize("hw", [(1, 1), (1, 900), (900, 1)])
@pytest.mark.parametrize("stride", [1, 4])
def test_the_thinnest_images_get_their_mask(hw: tuple[int, int], stride: int) -> None:
    affine = place(letterbox(), hw)
    mask = np.ones((96 // stride, 128 // stride), np.uint8)
    np.testing.assert_array_equal(to_source(mask, affine, "opencv_linear"), np.ones(hw))


@pytest.mark.parametrize("shape", [(128, 96), (96, 126), (96, 128, 1), (0, 5), (32, 24)])
def test_a_mask_of_another_aspect_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"mask must be \(h, w\) of the aspect of a row of \(96, 128\)"):
        to_source(np.zeros(shape, np.uint8), place(letterbox(), (50, 50)), "nearest")


def test_a_fit_that_cut_the_image_is_refused() -> None:
    fit = CenterCrop(
        kind="center_crop", size_hw=(32, 32), resize_shorter=32, size_rounding="floor", offset_rounding="nearest"
    )
    with pytest.raises(ValueError, match="the fit must keep the whole image"):
        to_source(np.zeros((32, 32), np.uint8), place(fit, (50, 100)), "nearest")
