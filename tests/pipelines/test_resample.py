"""Each named kernel equals the library that it is named for, wherever its result goes."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.resample import RESAMPLERS, resize
from pipelines.specs import Resample
from pipelines.types import AnyArray

OPENCV: dict[Resample, int] = {
    "opencv_linear": cv2.INTER_LINEAR,
    "opencv_area": cv2.INTER_AREA,
    "opencv_cubic": cv2.INTER_CUBIC,
    "opencv_lanczos4": cv2.INTER_LANCZOS4,
}
PILLOW: dict[Resample, Image.Resampling] = {
    "pil_bilinear": Image.Resampling.BILINEAR,
    "pil_bicubic": Image.Resampling.BICUBIC,
    "pil_lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
SIZES = [((37, 53), (20, 30)), ((37, 53), (80, 91)), ((37, 53), (37, 53)), ((1, 1), (7, 5)), ((30, 20), (1, 1))]
sides = st.integers(1, 300)
any_size = st.tuples(sides, sides)
SHAPES: list[tuple[int, ...]] = [(), (1,), (3,)]


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> AnyArray:
    levels = np.random.default_rng(7).integers(0, 256, shape, np.uint8)
    return levels if dtype is np.uint8 else levels.astype(dtype) / 255


def naive_centres(source: int, target: int) -> list[int]:
    """The pixel under each centre, reached by steps that are added up, as Pillow does."""
    step, at, found = source / target, 0.5 * source / target, []
    for _ in range(target):
        found.append(int(at))
        at += step
    return found


def naive_nearest(image: AnyArray, size_hw: tuple[int, int]) -> AnyArray:
    rows, columns = (naive_centres(image.shape[axis], size_hw[axis]) for axis in (0, 1))
    return np.stack([np.stack([image[y, x] for x in columns]) for y in rows])


def test_every_name_of_the_manifest_has_a_kernel() -> None:
    assert set(RESAMPLERS) == set(get_args(Resample))


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("kernel", OPENCV)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", SHAPES)
def test_opencv_kernels_are_opencv_s(
    kernel: Resample, source: tuple[int, int], target: tuple[int, int], dtype: type, channels: tuple[int, ...]
) -> None:
    image = noise((*source, *channels), dtype)
    expected = cv2.resize(image, target[::-1], interpolation=OPENCV[kernel]).reshape(*target, *channels)
    np.testing.assert_array_equal(resize(image, target, kernel), expected)


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, ()), (np.uint8, (3,)), (np.float32, ())])
def test_pillow_kernels_are_pillow_s(
    kernel: Resample, source: tuple[int, int], target: tuple[int, int], dtype: type, channels: tuple[int, ...]
) -> None:
    image = noise((*source, *channels), dtype)
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], PILLOW[kernel]))
    np.testing.assert_array_equal(resize(image, target, kernel), expected)


@pytest.mark.parametrize("kernel", OPENCV)
@settings(max_examples=30)
@given(source=any_size, target=any_size)
def test_opencv_kernels_are_opencv_s_at_any_size(
    kernel: Resample, source: tuple[int, int], target: tuple[int, int]
) -> None:
    image = noise((*source, 3))
    expected = cv2.resize(image, target[::-1], interpolation=OPENCV[kernel])
    np.testing.assert_array_equal(resize(image, target, kernel), expected)


@pytest.mark.parametrize("kernel", PILLOW)
@settings(max_examples=30)
@given(source=any_size, target=any_size)
def test_pillow_kernels_are_pillow_s_at_any_size(
    kernel: Resample, source: tuple[int, int], target: tuple[int, int]
) -> None:
    image = noise((*source, 3))
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], PILLOW[kernel]))
    np.testing.assert_array_equal(resize(image, target, kernel), expected)


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 1), (np.float32, 1), (np.float32, 3)])
def test_pillow_kernels_take_each_channel_alone_where_pillow_has_no_mode(
    kernel: Resample, dtype: type, channels: int
) -> None:
    image = noise((37, 53, channels), dtype)
    planes = [resize(image[..., channel], (20, 70), kernel) for channel in range(channels)]
    np.testing.assert_array_equal(resize(image, (20, 70), kernel), np.stack(planes, axis=2))


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("channels", SHAPES)
def test_nearest_is_the_pixel_under_each_centre(
    source: tuple[int, int], target: tuple[int, int], channels: tuple[int, ...]
) -> None:
    image = noise((*source, *channels))
    np.testing.assert_array_equal(resize(image, target, "nearest"), naive_nearest(image, target))


@pytest.mark.parametrize("kernel", RESAMPLERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", SHAPES)
def test_a_slice_of_a_padded_array_is_written_in_place_and_nothing_around_it(
    kernel: Resample, dtype: type, channels: tuple[int, ...]
) -> None:
    image = noise((37, 53, *channels), dtype)
    padded: AnyArray = np.full((40, 60, *channels), 9, dtype)
    out = padded[5:35, 10:50]
    assert resize(image, (30, 40), kernel, out) is out
    np.testing.assert_array_equal(out, resize(image, (30, 40), kernel))
    padded[5:35, 10:50] = 9
    np.testing.assert_array_equal(padded, 9)


@pytest.mark.parametrize("kernel", RESAMPLERS)
def test_an_array_that_opencv_cannot_write_is_filled_too(kernel: Resample) -> None:
    image = noise((37, 53, 3))
    for out in (
        np.zeros((3, 20, 30), np.uint8).transpose(1, 2, 0),
        np.zeros((20, 30, 3), np.uint8)[::-1],
        np.zeros((20, 60, 3), np.uint8)[:, ::2],
        np.zeros((20, 30, 3), np.uint8)[..., ::-1],
    ):
        resize(image, (20, 30), kernel, out)
        np.testing.assert_array_equal(out, resize(image, (20, 30), kernel))


@pytest.mark.parametrize("kernel", RESAMPLERS)
def test_an_image_need_not_be_contiguous_and_is_not_changed(kernel: Resample) -> None:
    image = noise((37, 53, 3))
    before = image.copy()
    for view in (image[::-1], image[:, ::2], image[..., ::-1], image.swapaxes(0, 1), image[3:9, 4:5]):
        np.testing.assert_array_equal(resize(view, (20, 30), kernel), resize(view.copy(), (20, 30), kernel))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kernel", RESAMPLERS)
def test_the_far_end_of_a_very_wide_image_is_resized_like_its_start(kernel: Resample) -> None:
    tile = noise((4, 100, 3))
    wide = np.tile(tile, (1, 1000, 1))
    resized = resize(wide, (4, 50_000), kernel)
    np.testing.assert_array_equal(resized[:, 50:100], resized[:, -100:-50])


@pytest.mark.parametrize("kernel", RESAMPLERS)
def test_a_result_is_writable_and_keeps_dtype_and_dimensions(kernel: Resample) -> None:
    for image in (noise((5, 6)), noise((5, 6, 1)), noise((5, 6, 3)), noise((5, 6), np.float32)):
        result = resize(image, (4, 3), kernel)
        assert result.dtype == image.dtype
        assert result.shape == (4, 3, *image.shape[2:])
        assert result.flags.writeable


@pytest.mark.parametrize(
    ("image", "size_hw", "out", "message"),
    [
        (noise((5, 6, 4)), (4, 4), None, "image must be uint8 or float32"),
        (noise((5, 6)).astype(np.float64), (4, 4), None, "image must be uint8 or float32"),
        (noise((6,)), (4, 4), None, "image must be uint8 or float32"),
        (noise((0, 6, 3)), (4, 4), None, "image must be uint8 or float32"),
        (noise((5, 6)), (0, 4), None, "size_hw must be at least 1 x 1"),
        (noise((5, 6)), (4, 4), noise((4, 5)), r"out must be uint8 \(4, 4\), got uint8 \(4, 5\)"),
        (noise((5, 6)), (4, 4), noise((4, 4), np.float32), r"out must be uint8 \(4, 4\), got float32 \(4, 4\)"),
    ],
)
def test_what_cannot_be_resized_is_refused(image: AnyArray, size_hw: tuple[int, int], out: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resize(image, size_hw, "opencv_linear", out)
