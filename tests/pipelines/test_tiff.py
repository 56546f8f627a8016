"""Directories are read in both byte orders, checked, and cut down to what pixels need."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image, TiffImagePlugin

from pipelines.errors import ImageDecodeError
from pipelines.tiff import PIXEL_TAGS, exif_orientation, pixels_only, read_tiff_header
from tests.corpus import encode, exif, picture, with_tiff_tag


def exif_block(order: str, entries: list[tuple[int, int, int, int]]) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    lines = b"".join(struct.pack(f"{order}HHIHH", tag, kind, count, value, 0) for tag, kind, count, value in entries)
    return head + struct.pack(f"{order}IH", 8, len(entries)) + lines + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_orientation_is_read_in_both_byte_orders(order: str, prefix: bytes) -> None:
    assert exif_orientation(prefix + exif_block(order, [(274, 3, 1, 6)])) == 6


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "empty"),
        (b"II*\0", "no directory offset"),
        (b"PNG?" + bytes(20), "no byte order"),
        (exif_block("<", [(256, 3, 1, 6)]), "no orientation"),
        (exif_block("<", [(274, 3, 1, 0)]), "below 1"),
        (exif_block("<", [(274, 3, 1, 9)]), "above 8"),
        (exif_block("<", [(274, 2, 1, 6)]), "text"),
        (exif_block("<", [(274, 3, 0, 6)]), "no value"),
        (exif_block("<", [(274, 3, 1, 6)])[:-8], "cut off"),
    ],
)
def test_damaged_exif_counts_as_upright(block: bytes, reason: str) -> None:
    assert exif_orientation(block) == 1, reason


def test_cutting_down_keeps_the_pixels_and_drops_every_other_tag() -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[270], directory[274] = "a description", 6
    data = encode(picture(), "TIFF", tiffinfo=directory, dpi=(72, 72))
    clean = pixels_only(data)
    original, image = (TiffImagePlugin.TiffImageFile(io.BytesIO(file)) for file in (data, clean))
    assert {270, 274, 282} <= set(original.tag_v2)
    assert set(image.tag_v2) <= PIXEL_TAGS
    assert image.tobytes() == picture().tobytes()


def test_size_and_orientation_are_those_of_the_file() -> None:
    header = read_tiff_header(encode(picture(), "TIFF", exif=exif(8)))
    assert header.size_hw == picture().shape[:2]
    assert header.orientation == 8


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (258, 12, "1, 2, 4, 8 or 16 bits"),
        (262, 32803, "photometric 32803"),
        (273, 1_000_000, "must be whole"),
        (279, 1, "must hold all its pixels"),
        (277, 200, "must hold all its pixels"),
    ],
)
def test_a_tag_that_cannot_be_is_refused(tag: int, value: int, message: str) -> None:
    with pytest.raises(ImageDecodeError, match=message):
        read_tiff_header(with_tiff_tag(encode(picture(), "TIFF"), tag, value))


def test_sixteen_bits_with_white_as_zero_are_refused() -> None:
    data = encode(Image.new("I;16", (4, 4)), "TIFF")
    assert read_tiff_header(data).size_hw == (4, 4)
    with pytest.raises(ImageDecodeError, match="black is zero"):
        read_tiff_header(with_tiff_tag(data, 262, 0))
