"""A header says what the structure says: format, size, end, orientation, inks."""

from __future__ import annotations

import struct

import pytest

from pipelines.errors import ImageDecodeError
from pipelines.image_header import read_header
from tests.corpus import (
    PNG_SIGNATURE,
    encode,
    odd_images,
    picture,
    png,
    png_chunk,
    whole_images,
    with_jpeg_segment,
    zip_archive,
)

WHOLE = whole_images()
ODD = odd_images()


def riff(chunks: bytes) -> bytes:
    """A WebP container of these chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


@pytest.mark.parametrize(
    ("name", "format_"), [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WebP"), ("bmp", "BMP"), ("tiff", "TIFF")]
)
def test_a_format_is_told_by_its_signature(name: str, format_: str) -> None:
    assert read_header(WHOLE[name]).format == format_


@pytest.mark.parametrize("name", [*WHOLE, *ODD])
def test_the_size_is_the_stored_one(name: str) -> None:
    assert read_header({**WHOLE, **ODD}[name]).size_hw == picture().shape[:2]


@pytest.mark.parametrize("name", WHOLE)
def test_a_plain_file_ends_with_its_image(name: str) -> None:
    assert read_header(WHOLE[name]).end == len(WHOLE[name])


def test_the_end_of_a_jpeg_is_before_what_a_camera_appends() -> None:
    assert read_header(WHOLE["jpeg"] * 2).end == len(WHOLE["jpeg"])


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_read_from_every_format_that_has_it(kind: str, turn: int) -> None:
    assert read_header(ODD[f"{kind}_exif_{turn}"]).orientation == turn


@pytest.mark.parametrize(
    ("name", "inks"), [("jpeg_cmyk_adobe", "inverted"), ("jpeg_cmyk_plain", "plain"), ("jpeg_gray", "none")]
)
def test_inks_are_inverted_where_adobe_marked_them(name: str, inks: str) -> None:
    assert read_header(ODD[name]).inks == inks


def test_a_lossy_webp_states_its_size_in_its_frame() -> None:
    assert read_header(encode(picture((5, 300)), "WEBP", quality=50)).size_hw == (5, 300)


def test_a_bmp_from_top_to_bottom_has_a_positive_height() -> None:
    data = WHOLE["bmp"]
    height = picture().shape[0]
    upside_down = data[:22] + (-height).to_bytes(4, "little", signed=True) + data[26:]
    assert read_header(upside_down).size_hw == picture().shape[:2]


def test_the_clear_level_of_a_png_is_scaled_like_its_samples() -> None:
    data = png((1, 4), 2, 0, b"\0\x1b", png_chunk(b"tRNS", b"\0\x02"))
    assert read_header(data).clear_gray == 170


def test_the_bytes_of_a_zip_record_inside_an_image_do_no_harm() -> None:
    data = with_jpeg_segment(WHOLE["jpeg"], 0xFE, zip_archive())  # its comment ends before the file does
    assert read_header(data).size_hw == picture().shape[:2]


@pytest.mark.parametrize("rest", [b"\n", b"\r\n", b"\0" * 4096, b"   "])
@pytest.mark.parametrize("name", ["png", "webp", "bmp", "jpeg"])
def test_padding_may_follow_an_image(name: str, rest: bytes) -> None:
    assert read_header(WHOLE[name] + rest).end == len(WHOLE[name])


def test_a_bmp_with_the_oldest_header_is_read() -> None:
    data = b"BM" + struct.pack("<IIIIHHHH", 34, 0, 26, 12, 1, 2, 1, 24) + bytes(8)
    assert read_header(data).size_hw == (2, 1)


def test_a_jpeg_marker_without_a_body_is_stepped_over() -> None:
    data = WHOLE["jpeg"][:2] + b"\xff\x01" + WHOLE["jpeg"][2:]
    assert read_header(data).size_hw == picture().shape[:2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8" + b"\xff\x01" * 70_000, "JPEG must have at most 65,536 markers"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(40), "JPEG must be whole, got 46 bytes of at least 65,539"),
        (PNG_SIGNATURE + png_chunk(b"IDAT", bytes(13)), "PNG must begin with IHDR, got b'IDAT'"),
        (riff(b"JUNK\0\0\0\0" * 70_000), "WebP must have at most 65,536 chunks"),
        (riff(b"JUNK\xff\0\0\0"), "WebP must be whole"),
        (riff(b"VP8X" + struct.pack("<IIHBHB", 10, 2, 7, 0, 7, 0) + b"ANIM" + bytes(4)), "got an animation"),
    ],
)
def test_a_structure_that_cannot_be_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageDecodeError, match=message):
        read_header(data)


def test_a_side_of_zero_names_the_size() -> None:
    with pytest.raises(ImageDecodeError, match=r"at least 1 pixel, got \(0, 7\)"):
        read_header(png((0, 7), 8, 2, b""))
