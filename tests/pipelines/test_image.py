"""Every kind of image file decodes by the stated policy, or is one clear error."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.errors import ImageDecodeError, ImageTooLargeError
from pipelines.image import Alpha, ImageLimits, decode_image
from pipelines.types import ByteArray
from tests.corpus import (
    bad_images,
    encode,
    exif,
    odd_images,
    opacity,
    picture,
    png,
    png_bomb,
    png_chunk,
    truncated_images,
    whole_images,
    with_jpeg_segment,
)

BAD = bad_images()
ODD = odd_images()
WHOLE = whole_images()
UPRIGHT = {name: data for name, data in {**WHOLE, **ODD}.items() if "_exif_" not in name}
# Pillow takes every CMYK JPEG for an inverted one, and warns of damaged EXIF.
BEYOND_PILLOW = {"jpeg_cmyk_plain", "jpeg_damaged_exif"}


def stored(data: bytes, *, alpha: Alpha = "drop") -> ByteArray:
    """Decode with the orientation left as it is stored."""
    return decode_image(data, exif="ignore", alpha=alpha)


def pillow_pixels(data: bytes) -> ByteArray:
    """What Pillow makes of the first image of a file, transparency dropped."""
    with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP", "BMP", "TIFF"]) as image:
        if image.mode.startswith("I;16"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.array(image.convert("RGBA"))[..., :3]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_one_line(name: str) -> None:
    data, error = BAD[name]
    with pytest.raises(error) as caught:
        decode_image(data, exif="apply", alpha="white")
    assert type(caught.value) is error
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_off_anywhere_is_refused(name: str) -> None:
    for keep in range(len(WHOLE[name])):
        with pytest.raises(ImageDecodeError):
            stored(WHOLE[name][:keep])


def test_the_corpus_cuts_every_format() -> None:
    assert {name.split("_")[0] for name in truncated_images()} == set(WHOLE)


@pytest.mark.parametrize("name", [name for name in UPRIGHT if name not in BEYOND_PILLOW])
def test_a_valid_file_decodes_as_pillow_decodes_it(name: str) -> None:
    # 2 levels: OpenCV and Pillow ship their own builds of libjpeg and libwebp, whose chroma filters may round apart.
    np.testing.assert_allclose(stored(UPRIGHT[name]).astype(int), pillow_pixels(UPRIGHT[name]).astype(int), atol=2)


@pytest.mark.parametrize("name", ["png", "webp", "bmp", "tiff", "png_alpha", "webp_alpha", "tiff_alpha", "tiff_lzw"])
def test_a_lossless_file_gives_back_the_picture(name: str) -> None:
    np.testing.assert_array_equal(stored(UPRIGHT[name]), picture())


@pytest.mark.parametrize("name", ["jpeg_cmyk_adobe", "jpeg_cmyk_plain", "jpeg_ycck", "tiff_cmyk"])
def test_inks_give_back_the_picture_however_they_are_stored(name: str) -> None:
    # 6 levels: quality 98, and YCCK adds a colour conversion.
    np.testing.assert_allclose(stored(ODD[name]).astype(int), picture().astype(int), atol=6)


@pytest.mark.parametrize("name", UPRIGHT)
def test_pixels_are_contiguous_writable_rgb(name: str) -> None:
    pixels = decode_image(UPRIGHT[name], exif="apply", alpha="white")
    assert pixels.dtype == np.uint8
    assert pixels.shape == picture().shape
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_orientation_is_applied_as_pillow_applies_it(kind: str, turn: int) -> None:
    data = ODD[f"{kind}_exif_{turn}"]
    block = Image.fromarray(stored(data))
    block.getexif()[274] = turn
    expected = np.asarray(ImageOps.exif_transpose(block))
    np.testing.assert_array_equal(decode_image(data, exif="apply", alpha="drop"), expected)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_orientation_is_ignored_when_asked(kind: str, turn: int) -> None:
    np.testing.assert_array_equal(stored(ODD[f"{kind}_exif_{turn}"]), stored(ODD[f"{kind}_exif_1"]))


def test_damaged_exif_counts_as_none() -> None:
    data = decode_image(ODD["jpeg_damaged_exif"], exif="apply", alpha="drop")
    np.testing.assert_array_equal(data, stored(WHOLE["jpeg"]))


def test_an_orientation_outside_1_to_8_counts_as_none() -> None:
    data = encode(picture(), "PNG", exif=exif(9))
    np.testing.assert_array_equal(decode_image(data, exif="apply", alpha="drop"), picture())


@pytest.mark.parametrize("kind", ["png_alpha", "webp_alpha", "tiff_alpha"])
@pytest.mark.parametrize(("alpha", "ground"), [("white", 255), ("black", 0)])
def test_transparency_is_laid_over_the_ground(kind: str, alpha: Alpha, ground: int) -> None:
    share = opacity()[..., None] / 255
    expected = np.floor(picture() * share + ground * (1 - share) + 0.5)
    np.testing.assert_array_equal(stored(ODD[kind], alpha=alpha), expected)


def test_grey_with_alpha_is_laid_over_the_ground() -> None:
    pixels = stored(png((1, 2), 8, 4, b"\0\x64\x00\x64\xff"), alpha="white")
    np.testing.assert_array_equal(pixels[0], [[255] * 3, [100] * 3])


def test_transparent_palette_entries_are_laid_over_the_ground() -> None:
    palette = png_chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])) + png_chunk(b"tRNS", b"\0")
    pixels = stored(png((1, 2), 8, 3, b"\0\0\1", palette), alpha="white")
    np.testing.assert_array_equal(pixels[0], [[255, 255, 255], [4, 5, 6]])


@pytest.mark.parametrize(
    ("depth", "line", "key", "shown"),
    [
        (1, b"\x80", b"\0\x01", [255, 0]),  # white clear
        (2, b"\x60", b"\0\x01", [255, 170]),  # 85 clear
        (8, b"\x05\x07", b"\0\x05", [255, 7]),
        (16, b"\x05\x07\x05\x08", b"\x05\x07", [255, 5]),  # same upper byte: only the exact level is clear
    ],
)
def test_the_clear_level_of_a_grey_png_is_laid_over_the_ground(
    depth: int, line: bytes, key: bytes, shown: list[int]
) -> None:
    pixels = stored(png((1, 2), depth, 0, b"\0" + line, png_chunk(b"tRNS", key)), alpha="white")
    np.testing.assert_array_equal(pixels[0, :, 0], shown)


def test_the_clear_colour_of_an_rgb_png_is_laid_over_the_ground() -> None:
    key = png_chunk(b"tRNS", bytes([0, 5, 0, 6, 0, 7]))
    pixels = stored(png((1, 2), 8, 2, bytes([0, 5, 6, 7, 1, 2, 3]), key), alpha="white")
    np.testing.assert_array_equal(pixels[0], [[255, 255, 255], [1, 2, 3]])


def test_sixteen_bits_keep_their_upper_byte() -> None:
    pixels = stored(png((1, 1), 16, 2, b"\0\x12\xff\x34\x00\x56\x80"))
    np.testing.assert_array_equal(pixels[0, 0], [0x12, 0x34, 0x56])


def test_sixteen_bits_with_alpha_are_laid_over_the_ground() -> None:
    pixels = stored(
        png((1, 2), 16, 6, b"\0" + bytes([9, 0] * 3 + [0, 0]) + bytes([9, 0] * 3 + [255, 0])), alpha="white"
    )
    np.testing.assert_array_equal(pixels[0], [[255] * 3, [9] * 3])


def test_one_bit_becomes_black_and_white() -> None:
    np.testing.assert_array_equal(stored(png((1, 2), 1, 0, b"\0\x40"))[0], [[0] * 3, [255] * 3])


def test_a_bomb_of_a_hundred_bytes_is_refused_by_its_size() -> None:
    assert len(png_bomb()) <= 100
    with pytest.raises(ImageTooLargeError, match="2,500,000,000 pixels, the limit is 100,000,000"):
        stored(png_bomb())


def test_more_bytes_than_the_limit_are_refused_unread() -> None:
    with pytest.raises(ImageTooLargeError, match="has 9 bytes, the limit is 8"):
        decode_image(b"not image", exif="apply", alpha="drop", limits=ImageLimits(max_bytes=8))


@pytest.mark.parametrize("name", WHOLE)
def test_the_pixel_limit_is_the_most_that_is_let_through(name: str) -> None:
    pixels = picture().shape[0] * picture().shape[1]
    decode_image(WHOLE[name], exif="apply", alpha="drop", limits=ImageLimits(max_pixels=pixels))
    with pytest.raises(ImageTooLargeError):
        decode_image(WHOLE[name], exif="apply", alpha="drop", limits=ImageLimits(max_pixels=pixels - 1))


def test_a_thumbnail_inside_a_jpeg_is_not_taken_for_its_end() -> None:
    thumbnail = encode(picture((8, 8)), "JPEG")
    data = with_jpeg_segment(WHOLE["jpeg"], 0xE3, thumbnail)
    np.testing.assert_array_equal(stored(data), stored(WHOLE["jpeg"]))
    with pytest.raises(ImageDecodeError, match="must be whole"):
        stored(data[:-2])


@pytest.mark.parametrize("hw", [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_the_thinnest_images_decode(kind: str, hw: tuple[int, int]) -> None:
    np.testing.assert_array_equal(stored(encode(picture(hw), kind)), picture(hw))


def test_threads_do_not_disturb_each_other() -> None:
    files = [*UPRIGHT.values()] * 4
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(stored, files))
    for data, pixels in zip(files, together, strict=True):
        np.testing.assert_array_equal(pixels, stored(data))


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damage_gives_pixels_or_our_error_and_nothing_else(data: st.DataObject) -> None:
    everything = {**WHOLE, **ODD}
    damaged = bytearray(everything[data.draw(st.sampled_from(sorted(everything)))])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode_image(bytes(damaged), exif="apply", alpha="black")
    except (ImageDecodeError, ImageTooLargeError):
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
