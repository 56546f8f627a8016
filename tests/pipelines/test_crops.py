import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.crops import box_window, crop_transforms, cut, cut_window
from pipelines.errors import ImageTooLargeError
from pipelines.types import Detections, pixel_windows
from tests.builders import f32
from tests.cascades import box_crop
from tests.corpus import picture

corner = st.floats(-30, 60, width=32)
side = st.floats(0.125, 50, width=32)
margins = st.sampled_from((0.0, 0.1, 0.5, 2.0))


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    x, y = draw(corner), draw(corner)
    return f32([x, y, x + draw(side), y + draw(side)])


@given(box=boxes())
def test_without_margin_a_crop_is_the_pixels_that_the_box_touches(box: np.ndarray):
    expected = pixel_windows(box[None])[0]
    window = box_window(box, box_crop(margin=0.0, square=False))
    # a box between two pixels' edges touches no whole pixel of its own; its crop has one
    assert window == tuple(np.maximum(expected, [-100, -100, expected[0] + 1, expected[1] + 1]).tolist())


@given(box=boxes(), margin=margins)
def test_a_crop_holds_its_grown_box(box: np.ndarray, margin: float):
    left, top, right, bottom = box_window(box, box_crop(margin=margin, square=False))
    (x1, y1, x2, y2) = box.astype(np.float64)
    assert left <= x1 - margin * (x2 - x1) + 1e-6
    assert right >= x2 + margin * (x2 - x1) - 1e-6
    assert top <= y1 - margin * (y2 - y1) + 1e-6
    assert bottom >= y2 + margin * (y2 - y1) - 1e-6


@given(box=boxes(), margin=margins)
def test_a_square_is_square_around_the_boxs_centre(box: np.ndarray, margin: float):
    left, top, right, bottom = box_window(box, box_crop(margin=margin, square=True))
    longer = float(max(box[2:].astype(np.float64) - box[:2])) * (1 + 2 * margin)
    assert right - left == bottom - top
    assert longer - 1e-3 <= right - left < longer + 1 + 1e-3
    centre = (box[:2].astype(np.float64) + box[2:]) / 2
    assert np.abs(np.array([(left + right) / 2, (top + bottom) / 2]) - centre).max() <= 0.5 + 1e-6


@given(box=boxes(), margin=margins, square=st.booleans())
def test_each_pixel_of_a_crop_is_that_of_the_image_or_padding(box: np.ndarray, margin: float, square: bool):
    image, how = picture((48, 40)), box_crop(margin=margin, square=square, pad_value=9)
    found = Detections(box[None], f32([1]), np.zeros(1, np.int64))
    (transform,) = crop_transforms(found, how)
    crop = cut(image, box, transform, how)
    left, top, right, bottom = box_window(box, how)
    assert crop.shape == (bottom - top, right - left, 3)
    height, width = image.shape[:2]
    y, x = np.mgrid[top:bottom, left:right]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    expected = np.where(inside[..., None], image[y.clip(0, height - 1), x.clip(0, width - 1)], 9)
    assert np.array_equal(crop, expected)
    assert (transform @ (left, top, 1)).tolist() == [0, 0]


def test_a_square_that_no_memory_holds_is_refused():
    line = np.zeros((1, 20_000, 3), np.uint8)
    with pytest.raises(ImageTooLargeError, match="a crop of 20,000 x 20,000 = 400,000,000 pixels is above the limit"):
        cut_window(line, box_window(f32([0, 0, 20_000, 1]), box_crop(margin=0.0)), pad_value=0)


def test_a_crop_inside_the_image_is_no_copy():
    image = picture((20, 30))
    assert np.shares_memory(cut_window(image, (2, 3, 9, 11), pad_value=0), image)
