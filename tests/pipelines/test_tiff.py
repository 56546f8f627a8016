"""Directories are read in both byte orders, checked, and cut down to what pixels need."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pipelines.errors import ImageDecodeError
from pipelines.image import decode_image
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


def tiled_tiff(tile_hw: tuple[int, int], pixels: bytes, *, tiles: int = 1) -> bytes:
    """A grey 8-bit image of 16 x 16 whose tiles, of any size, all lie at its end."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (277, 1), (322, tile_hw[1]), (323, tile_hw[0])]
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    lines = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    lines += [struct.pack("<HHII", 324, 4, tiles, start), struct.pack("<HHII", 325, 4, 1, len(pixels))]
    return b"II*\0" + struct.pack("<IH", 8, len(lines)) + b"".join(lines) + bytes(4) + pixels


def test_a_tiled_image_is_decoded() -> None:
    pixels = decode_image(tiled_tiff((16, 16), bytes(range(256))), exif="apply", alpha="drop")
    np.testing.assert_array_equal(pixels[..., 0].ravel(), np.arange(256))


def test_a_tile_that_would_be_a_bomb_is_refused() -> None:
    with pytest.raises(ImageDecodeError, match="at most 16,777,216 pixels, got 4,294,836,225"):
        read_tiff_header(tiled_tiff((65_535, 65_535), bytes(256)))


def test_tiles_without_a_byte_count_each_are_refused() -> None:
    with pytest.raises(ImageDecodeError, match="as many byte counts as offsets, got 1 and 2"):
        read_tiff_header(tiled_tiff((16, 16), bytes(400), tiles=2))


def test_signed_samples_are_refused() -> None:
    data = tiled_tiff((16, 16), bytes(256))
    signed = data[:8] + struct.pack("<H", 11) + data[10:130] + struct.pack("<HHII", 339, 4, 1, 2) + data[130:]
    with pytest.raises(ImageDecodeError, match=r"unsigned integers \(format 1\), got \[2\]"):
        read_tiff_header(signed)


def test_a_missing_tag_is_named() -> None:
    data = encode(picture(), "TIFF")
    with pytest.raises(ImageDecodeError, match="must have tag 262"):
        read_tiff_header(data.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 65_000, 3, 1)))


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
