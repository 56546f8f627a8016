"""Rows equal the naive arithmetic and the upstream systems' own code, wherever they are written."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ImageTooLargeError
from pipelines.preprocess import fit_pixels, fixed_row_shape, normalize, preprocess, row_shape
from pipelines.specs import CenterCrop, Fit, ImageSpec, Letterbox, NoFit, Pad, Stretch, StretchToMultiple
from pipelines.types import AnyArray, ByteArray
from tests.builders import IMAGENET_MEAN, IMAGENET_STD, image_spec, letterbox
from tests.corpus import picture

FITS: dict[str, Fit] = {
    "stretch": Stretch(kind="stretch", size_hw=(40, 56)),
    "stretch_to_multiple": StretchToMultiple(
        kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=None, max_longer=None
    ),
    "letterbox": letterbox(),
    "letterbox_top_left": letterbox(pad_position="top_left", pad_value=3),
    "letterbox_no_scale_up": letterbox(scale_up=False),
    "center_crop": CenterCrop(
        kind="center_crop", size_hw=(40, 32), resize_shorter=48, size_rounding="floor", offset_rounding="nearest"
    ),
    "pad": Pad(kind="pad", multiple_of=32, pad_value=7, max_longer=None),
    "none": NoFit(kind="none"),
}
IMAGE = picture((45, 71))
COLORS = ["rgb", "bgr", "gray"]
COLOR_CODES = {"bgr": cv2.COLOR_RGB2BGR, "gray": cv2.COLOR_RGB2GRAY}


def spec_of(*, color: str = "rgb", dtype: str = "float32", **over: Any) -> ImageSpec:
    """A spec whose statistics have as many values as the colour has channels."""
    channels = 1 if color == "gray" else 3
    in_graph = ("normalize",) if dtype == "uint8" else ()
    fields = {"color": color, "dtype": dtype, "in_graph": in_graph}
    return image_spec(mean=IMAGENET_MEAN[:channels], std=IMAGENET_STD[:channels], **fields | over)


def naive_row(pixels: ByteArray, spec: ImageSpec) -> AnyArray:
    """The documented formula, value by value."""
    height, width, channels = pixels.shape
    scale = (int(pixels.max()) or 1) if spec.scale == "image_max" else spec.scale
    planar = spec.layout == "chw"
    row = np.empty((channels, height, width) if planar else pixels.shape, spec.dtype)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                level = int(pixels[y, x, c])
                value = level if spec.dtype == "uint8" else (level / scale - spec.mean[c]) / spec.std[c]
                row[(c, y, x) if planar else (y, x, c)] = value
    return row


def naive_letterbox(image: ByteArray, fit: Letterbox) -> AnyArray:
    ratio = min(fit.size_hw[0] / image.shape[0], fit.size_hw[1] / image.shape[1])
    height, width = round(image.shape[0] * ratio), round(image.shape[1] * ratio)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (fit.size_hw[0] - height) // 2, (fit.size_hw[1] - width) // 2
    bottom, right = fit.size_hw[0] - height - top, fit.size_hw[1] - width - left
    return cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=[fit.pad_value] * 3)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_a_row_is_the_same_with_and_without_out(fit: Fit, color: str, layout: str, dtype: str) -> None:
    spec = spec_of(color=color, dtype=dtype, layout=layout, fit=fit)
    row, affine = preprocess(IMAGE, spec)
    batch = np.full((3, *row_shape(spec, (45, 71))), 99, dtype)
    written, same_affine = preprocess(IMAGE, spec, batch[1])
    assert np.shares_memory(written, batch)
    assert affine == same_affine
    np.testing.assert_array_equal(batch[1], row)
    np.testing.assert_array_equal(batch[[0, 2]], 99)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_preprocess_is_fit_pixels_and_then_normalize(fit: Fit, color: str, layout: str, dtype: str) -> None:
    spec = spec_of(color=color, dtype=dtype, layout=layout, fit=fit)
    row, affine = preprocess(IMAGE, spec)
    pixels, pixels_affine = fit_pixels(IMAGE, spec)
    assert affine == pixels_affine
    np.testing.assert_array_equal(normalize(pixels, spec), row)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("scale", [255.0, 1.0])
def test_normalize_is_the_formula_for_every_value(color: str, layout: str, dtype: str, scale: float) -> None:
    spec = spec_of(color=color, dtype=dtype, layout=layout, scale=scale)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, len(spec.mean)), np.uint8)
    np.testing.assert_array_equal(normalize(pixels, spec), naive_row(pixels, spec))


@pytest.mark.parametrize("highest", [0, 1, 200])
def test_image_max_divides_by_the_brightest_value_or_by_one(highest: int) -> None:
    spec = spec_of(scale="image_max")
    pixels = np.minimum(picture((4, 5)), highest)
    np.testing.assert_array_equal(normalize(pixels, spec), naive_row(pixels, spec))
    assert np.isfinite(normalize(pixels, spec)).all()


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("brightest", [0, 2, 200])  # darker and brighter than any padding
def test_image_max_counts_the_padding_that_the_row_has(fit: Fit, brightest: int) -> None:
    spec = spec_of(fit=fit, scale="image_max")
    image = np.minimum(IMAGE, brightest)
    pixels, _ = fit_pixels(image, spec)
    np.testing.assert_array_equal(preprocess(image, spec)[0], naive_row(pixels, spec))


@settings(deadline=None)
@given(hw=st.tuples(st.integers(1, 90), st.integers(1, 90)), name=st.sampled_from(sorted(FITS)))
def test_the_announced_shape_is_the_row_s(hw: tuple[int, int], name: str) -> None:
    spec = spec_of(fit=FITS[name])
    row, affine = preprocess(picture(hw), spec)
    assert row.shape == row_shape(spec, hw) == (3, *affine.dst_hw)
    assert affine.src_hw == hw


@pytest.mark.parametrize("name", [name for name in FITS if name != "center_crop"])
@pytest.mark.parametrize("hw", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("resample", ["opencv_area", "pil_bicubic", "nearest"])
def test_a_thin_image_keeps_its_place_in_the_row(name: str, hw: tuple[int, int], resample: str) -> None:
    spec = spec_of(fit=FITS[name], dtype="uint8", layout="hwc", resample=resample)
    row, affine = preprocess(np.full((*hw, 3), 200, np.uint8), spec)
    (top, left), (height, width) = affine.corner_yx, affine.resized_hw
    shown = np.zeros(row.shape, bool)
    shown[top : top + height, left : left + width] = True
    assert (row[shown] == 200).all()
    assert (row[~shown] != 200).all()


def test_a_letterbox_is_resize_and_border() -> None:
    fit = letterbox()
    pixels, _ = fit_pixels(IMAGE, spec_of(fit=fit))
    np.testing.assert_array_equal(pixels, naive_letterbox(IMAGE, fit))


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("name", FITS)
def test_a_row_s_shape_is_fixed_where_it_is_that_of_every_image(name: str, layout: str) -> None:
    spec = spec_of(fit=FITS[name], layout=layout)
    shapes = {row_shape(spec, hw) for hw in ((45, 71), (300, 200), (64, 64))}
    assert fixed_row_shape(spec) == (shapes.pop() if len(shapes) == 1 else None)


@pytest.mark.parametrize("color", ["bgr", "gray"])
@pytest.mark.parametrize("name", ["stretch", "stretch_to_multiple"])
def test_colours_are_those_of_a_system_that_reads_them_so(color: str, name: str) -> None:
    spec = spec_of(fit=FITS[name], color=color)
    pixels, affine = fit_pixels(IMAGE, spec)
    read = cv2.cvtColor(IMAGE, COLOR_CODES[color])
    expected = cv2.resize(read, affine.dst_hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels, expected.reshape(pixels.shape))


@pytest.mark.parametrize("hw", [(300, 400), (401, 300), (64, 63), (223, 500)])
def test_a_classifier_s_row_is_torchvision_s(hw: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="the oracle is in the export extra")
    from PIL import Image

    upstream = transforms.Compose(
        [
            transforms.Resize(64),
            transforms.CenterCrop((56, 48)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    fit = CenterCrop(
        kind="center_crop", size_hw=(56, 48), resize_shorter=64, size_rounding="floor", offset_rounding="nearest"
    )
    row, _ = preprocess(picture(hw), spec_of(fit=fit, resample="pil_bilinear"))
    expected = upstream(Image.fromarray(picture(hw))).numpy()
    np.testing.assert_allclose(
        row, expected, atol=1e-6
    )  # torchvision rounds each of its three float32 steps; |row| < 3


def test_an_image_is_not_changed() -> None:
    image = IMAGE.copy()
    for color in COLORS:
        preprocess(image, spec_of(color=color))
    np.testing.assert_array_equal(image, IMAGE)


def test_a_view_gives_the_same_row_as_its_copy() -> None:
    spec = spec_of(color="bgr")
    for view in (IMAGE[::-1], IMAGE[:, ::-1], IMAGE[3:20, ::2], IMAGE[..., ::-1]):
        np.testing.assert_array_equal(preprocess(view, spec)[0], preprocess(view.copy(), spec)[0])


@pytest.mark.parametrize(
    ("out", "came"),
    [
        (np.empty((3, 96, 127), np.float32), "float32 \\(3, 96, 127\\)"),
        (np.empty((3, 96, 128), np.float64), "float64 \\(3, 96, 128\\)"),
        (np.empty((96, 128, 3), np.float32), "float32 \\(96, 128, 3\\)"),
        (np.empty((96, 128, 3), np.float32).transpose(2, 0, 1), "not contiguous float32"),
    ],
)
def test_an_out_of_another_shape_dtype_or_order_is_refused(out: AnyArray, came: str) -> None:
    with pytest.raises(ValueError, match=rf"out must be contiguous float32 \(3, 96, 128\), got {came}"):
        preprocess(IMAGE, spec_of(), out)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: AnyArray) -> None:
    for function in (preprocess, fit_pixels):
        with pytest.raises(ValueError, match=r"image must be uint8 \(H, W, 3\)"):
            function(image, spec_of())


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_are_no_pixels_of_the_spec_is_refused(pixels: AnyArray) -> None:
    with pytest.raises(ValueError, match=r"pixels must be uint8 \(h, w, 3\)"):
        normalize(pixels, spec_of())


def test_an_image_whose_resize_would_take_too_much_memory_is_refused_before_it() -> None:
    with pytest.raises(ImageTooLargeError):
        preprocess(np.zeros((1, 40_000, 3), np.uint8), spec_of(fit=FITS["center_crop"]))
