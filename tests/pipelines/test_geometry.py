"""Where each fit puts an image, by the formulas of the systems that it comes from, and back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.errors import ImageTooLargeError
from pipelines.geometry import MAX_RESIZED_PIXELS, Affine, place
from pipelines.specs import CenterCrop, Fit, NoFit, Pad, Stretch, StretchToMultiple
from tests.builders import f32, letterbox


def stretch(size_hw: tuple[int, int] = (320, 320)) -> Stretch:
    return Stretch(kind="stretch", size_hw=size_hw)


def multiple(
    *, rounding: str = "ceil", min_shorter: int | None = None, max_longer: int | None = None, of: int = 32
) -> StretchToMultiple:
    fields = {"multiple_of": of, "rounding": rounding, "min_shorter": min_shorter, "max_longer": max_longer}
    return StretchToMultiple.model_validate({"kind": "stretch_to_multiple", **fields})


def center_crop(
    *, size_hw: tuple[int, int] = (224, 224), shorter: int = 256, size: str = "floor", offset: str = "nearest"
) -> CenterCrop:
    fields = {"size_hw": size_hw, "resize_shorter": shorter, "size_rounding": size, "offset_rounding": offset}
    return CenterCrop.model_validate({"kind": "center_crop", **fields})


def pad(*, of: int = 32, max_longer: int | None = None) -> Pad:
    return Pad(kind="pad", multiple_of=of, pad_value=0, max_longer=max_longer)


WHOLE_IMAGE_FITS: dict[str, Fit] = {
    "stretch": stretch(),
    "stretch_up": multiple(),
    "stretch_near": multiple(rounding="nearest", min_shorter=64, max_longer=960),
    "letterbox": letterbox(),
    "letterbox_top_left": letterbox(pad_position="top_left"),
    "letterbox_no_scale_up": letterbox(scale_up=False),
    "letterbox_floor": letterbox(size_rounding="floor", pad_rounding="nearest"),
    "pad": pad(),
    "pad_scaled": pad(max_longer=640),
    "none": NoFit(kind="none"),
}
FITS: dict[str, Fit] = {**WHOLE_IMAGE_FITS, "center_crop": center_crop()}

sides = st.integers(1, 3000)
sizes = st.tuples(sides, sides)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@given(hw=st.tuples(st.integers(16, 3000), st.integers(16, 3000)), data=st.data())
def test_boxes_survive_the_way_into_the_row_and_back(fit: Fit, hw: tuple[int, int], data: st.DataObject) -> None:
    affine = place(fit, hw)
    numbers = st.floats(0, 1, width=32)
    corners = data.draw(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4))
    boxes = f32(corners).reshape(-1, 4) * f32([hw[1], hw[0], hw[1], hw[0]])
    # A float32 row coordinate of up to 12,288 has an ulp of 1e-3; a source pixel may be 1/180 of a row pixel wide.
    atol = 2e-3 / min(affine.scale_xy)
    np.testing.assert_allclose(affine.boxes_to_source(affine.boxes_to_row(boxes)), boxes, rtol=0, atol=atol)


@pytest.mark.parametrize("fit", WHOLE_IMAGE_FITS.values(), ids=WHOLE_IMAGE_FITS)
@given(hw=sizes)
def test_the_image_lies_inside_the_row(fit: Fit, hw: tuple[int, int]) -> None:
    affine = place(fit, hw)
    (top, left), (height, width) = affine.corner_yx, affine.resized_hw
    assert min(top, left) >= 0
    assert min(height, width) >= 1
    assert top + height <= affine.dst_hw[0]
    assert left + width <= affine.dst_hw[1]


@pytest.mark.parametrize("fit", WHOLE_IMAGE_FITS.values(), ids=WHOLE_IMAGE_FITS)
@given(hw=sizes)
def test_the_corners_of_the_image_land_on_whole_row_pixels(fit: Fit, hw: tuple[int, int]) -> None:
    affine = place(fit, hw)
    (top, left), (height, width) = affine.corner_yx, affine.resized_hw
    corners = affine.boxes_to_row(f32([[0, 0, hw[1], hw[0]]]))
    np.testing.assert_array_equal(corners, f32([[left, top, left + width, top + height]]))


@given(hw=st.tuples(st.integers(16, 3000), st.integers(16, 3000)))
def test_a_center_crop_covers_the_row(hw: tuple[int, int]) -> None:
    affine = place(center_crop(), hw)
    (top, left), (height, width) = affine.corner_yx, affine.resized_hw
    assert max(top, left) <= 0
    assert top + height >= affine.dst_hw[0]
    assert left + width >= affine.dst_hw[1]


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_an_affine_of_no_boxes_is_no_boxes(fit: Fit) -> None:
    assert place(fit, (480, 640)).boxes_to_source(f32([]).reshape(0, 4)).shape == (0, 4)


@given(hw=sizes)
def test_ceil_to_a_multiple_is_centerface_s_rule(hw: tuple[int, int]) -> None:
    assert place(multiple(), hw).dst_hw == tuple(math.ceil(side / 32) * 32 for side in hw)


@given(hw=sizes)
def test_nearest_multiple_is_the_text_detector_s_rule(hw: tuple[int, int]) -> None:
    fit = multiple(rounding="nearest", min_shorter=736)
    ratio = 736 / min(hw) if min(hw) < 736 else 1.0
    expected = [round(int(side * ratio) / 32) * 32 for side in hw]
    if expected[0] * expected[1] <= MAX_RESIZED_PIXELS:
        assert place(fit, hw).dst_hw == tuple(expected)


@pytest.mark.parametrize(
    ("hw", "row_hw"),
    [
        ((300, 400), (736, 992)),  # 981 is 30.66 multiples
        ((1, 20), (736, 14_720)),
        ((736, 752), (736, 768)),  # 23.5 multiples, to even: up
        ((736, 784), (736, 768)),  # 24.5 multiples, to even: down
    ],
)
def test_the_text_detector_s_rows_by_hand(hw: tuple[int, int], row_hw: tuple[int, int]) -> None:
    assert place(multiple(rounding="nearest", min_shorter=736), hw).dst_hw == row_hw


@given(hw=sizes)
def test_a_side_never_falls_below_one_multiple(hw: tuple[int, int]) -> None:
    row_hw = place(multiple(rounding="nearest", max_longer=100), hw).dst_hw
    assert min(row_hw) >= 32
    assert all(side % 32 == 0 for side in row_hw)


def test_the_longer_side_is_limited_after_the_shorter_one_is_raised() -> None:
    assert place(multiple(min_shorter=320, max_longer=640), (100, 400)).dst_hw == (160, 640)


@pytest.mark.parametrize(
    ("hw", "resized_hw", "corner_yx"),
    [
        ((200, 100), (96, 48), (0, 40)),
        ((96, 128), (96, 128), (0, 0)),
        ((100, 200), (64, 128), (16, 0)),
        ((10, 13), (96, 125), (0, 1)),  # 124.8 up; 3 spare columns: 1 left, 2 right
        ((1, 10_000), (1, 128), (47, 0)),  # 95 spare lines: 47 above, 48 below
        ((10_000, 1), (96, 1), (0, 63)),
        ((12, 16), (96, 128), (0, 0)),
    ],
)
def test_a_letterbox_by_hand(hw: tuple[int, int], resized_hw: tuple[int, int], corner_yx: tuple[int, int]) -> None:
    affine = place(letterbox(), hw)
    assert affine.dst_hw == (96, 128)
    assert affine.resized_hw == resized_hw
    assert affine.corner_yx == corner_yx
    assert affine.scale_xy == (resized_hw[1] / hw[1], resized_hw[0] / hw[0])


@given(hw=sizes, row_hw=st.tuples(st.integers(32, 1280), st.integers(32, 1280)))
def test_a_letterbox_rounds_as_ultralytics_documents_it(hw: tuple[int, int], row_hw: tuple[int, int]) -> None:
    ratio = min(row_hw[0] / hw[0], row_hw[1] / hw[1])
    new_hw = [max(1, round(side * ratio)) for side in hw]
    spare = [(row_side - side) / 2 for row_side, side in zip(row_hw, new_hw, strict=True)]
    before, behind = [round(half - 0.1) for half in spare], [round(half + 0.1) for half in spare]
    affine = place(letterbox(size_hw=row_hw), hw)
    assert affine.resized_hw == tuple(new_hw)
    assert affine.corner_yx == tuple(before)
    assert [a + b + c for a, b, c in zip(before, new_hw, behind, strict=True)] == list(row_hw)


@given(hw=sizes, row_hw=st.tuples(st.integers(32, 1280), st.integers(32, 1280)))
def test_a_letterbox_rounds_as_yolox_documents_it(hw: tuple[int, int], row_hw: tuple[int, int]) -> None:
    affine = place(letterbox(size_hw=row_hw, size_rounding="floor", pad_position="top_left"), hw)
    ratio = min(row_hw[0] / hw[0], row_hw[1] / hw[1])
    assert affine.resized_hw == tuple(max(1, int(side * ratio)) for side in hw)
    assert affine.corner_yx == (0, 0)


@settings(max_examples=30)
@given(hw=st.tuples(st.integers(8, 300), st.integers(8, 300)), row_hw=st.tuples(st.integers(8, 99), st.integers(8, 99)))
def test_the_nearest_padding_is_pillow_s(hw: tuple[int, int], row_hw: tuple[int, int]) -> None:
    affine = place(letterbox(size_hw=row_hw, pad_rounding="nearest"), hw)
    resized = Image.new("L", affine.resized_hw[::-1], 255)
    # Only its padding: Pillow computes the resized size by another formula, and has nothing to resize here.
    padded = ImageOps.pad(resized, row_hw[::-1])
    box = padded.getbbox()
    assert box is not None
    assert affine.corner_yx == (box[1], box[0])


@pytest.mark.parametrize(("rounding", "before"), [("floor", (0, 1, 1, 2)), ("nearest", (0, 1, 2, 2))])
def test_an_odd_pixel_of_padding_goes_where_the_rounding_says(rounding: str, before: tuple[int, ...]) -> None:
    for spare, left in enumerate(before, start=1):  # halves of 1 and 3: 0.5 and 1.5, to even 0 and 2
        fit = letterbox(size_hw=(10, 10 + spare), pad_rounding=rounding)
        assert place(fit, (10, 10)).corner_yx == (0, left)


@pytest.mark.parametrize(("rounding", "sides"), [("nearest", (96, 125)), ("floor", (96, 124))])
def test_a_resized_side_is_rounded_as_told(rounding: str, sides: tuple[int, int]) -> None:
    assert place(letterbox(size_rounding=rounding), (10, 13)).resized_hw == sides  # 124.8


@pytest.mark.parametrize(("position", "rounding"), [("top_left", "floor"), ("center", None)])
def test_a_rounding_without_padding_to_round_is_refused(position: str, rounding: str | None) -> None:
    with pytest.raises(ValueError, match="pad_rounding is null if and only if pad_position is top_left"):
        letterbox(pad_position=position, pad_rounding=rounding)


@given(hw=sizes)
def test_no_fit_leaves_the_image_as_it_is(hw: tuple[int, int]) -> None:
    assert place(NoFit(kind="none"), hw) == Affine(src_hw=hw, dst_hw=hw, scale_xy=(1.0, 1.0), offset_xy=(0.0, 0.0))


def test_a_letterbox_that_may_not_scale_up_leaves_a_small_image() -> None:
    affine = place(letterbox(scale_up=False), (11, 20))
    assert affine == Affine(src_hw=(11, 20), dst_hw=(96, 128), scale_xy=(1.0, 1.0), offset_xy=(54.0, 42.0))


def test_a_letterbox_that_may_not_scale_up_scales_a_large_image_down() -> None:
    assert place(letterbox(scale_up=False), (960, 640)) == place(letterbox(), (960, 640))


@given(hw=st.tuples(st.integers(8, 2000), st.integers(8, 2000)))
def test_a_center_crop_by_torchvision_s_formulas(hw: tuple[int, int]) -> None:
    affine = place(center_crop(), hw)
    shorter, longer = min(hw), max(hw)
    new_longer = int(256 * longer / shorter)
    resized = (256, new_longer) if hw[0] <= hw[1] else (new_longer, 256)
    assert affine.resized_hw == resized
    assert affine.corner_yx == tuple(-round((side - 224) / 2.0) for side in resized)


@given(hw=st.tuples(st.integers(8, 2000), st.integers(8, 2000)))
def test_a_center_crop_by_paddleclas_s_formulas(hw: tuple[int, int]) -> None:
    affine = place(center_crop(size="nearest", offset="floor"), hw)
    percent = 256.0 / min(hw)
    resized = tuple(round(side * percent) for side in hw)
    assert affine.resized_hw == resized
    assert affine.corner_yx == tuple(-((side - 224) // 2) for side in resized)


@pytest.mark.parametrize(("spare", "nearest", "floor"), [(1, 0, 0), (3, 2, 1), (5, 2, 2), (7, 4, 3)])
def test_half_a_pixel_of_offset_goes_to_even_or_down(spare: int, nearest: int, floor: int) -> None:
    hw = (300, 224 + spare)  # the shorter side is the width: already of the size that is asked for
    assert place(center_crop(shorter=224 + spare, offset="nearest"), hw).corner_yx[1] == -nearest
    assert place(center_crop(shorter=224 + spare, offset="floor"), hw).corner_yx[1] == -floor


@pytest.mark.parametrize(
    ("hw", "resized_hw", "row_hw"),
    [
        ((33, 64), (33, 64), (64, 64)),
        ((641, 1281), (320, 640), (320, 640)),  # 320.25 down
        ((1, 10_000), (1, 640), (32, 640)),
    ],
)
def test_padding_scales_down_and_rounds_up(
    hw: tuple[int, int], resized_hw: tuple[int, int], row_hw: tuple[int, int]
) -> None:
    affine = place(pad(max_longer=640), hw)
    assert affine.resized_hw == resized_hw
    assert affine.dst_hw == row_hw
    assert affine.offset_xy == (0.0, 0.0)


@pytest.mark.parametrize(
    ("fit", "hw"),
    [
        (center_crop(), (10, 100_000)),
        (multiple(min_shorter=736), (1, 100_000)),
        (multiple(), (10_000, 10_000)),
        (pad(), (10_000, 10_000)),
        (NoFit(kind="none"), (10_000, 10_000)),
    ],
)
def test_an_image_that_would_take_too_much_memory_is_refused(fit: Fit, hw: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError, match=r"would be resized to .* pixels, the limit is 67,108,864"):
        place(fit, hw)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("hw", [(0, 5), (5, 0)])
def test_an_empty_image_is_refused(fit: Fit, hw: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        place(fit, hw)
