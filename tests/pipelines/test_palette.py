"""Class maps with a palette: values survive, colours are Pascal VOC's."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pipelines.errors import ImageDecodeError
from pipelines.palette import colors, decode_palette_png, encode_palette_png
from pipelines.types import AnyArray


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_every_class_map_is_read_back_as_it_was(class_map: AnyArray) -> None:
    np.testing.assert_array_equal(decode_palette_png(encode_palette_png(class_map)), class_map)


@given(st.integers(1, 255))
def test_a_viewer_shows_each_class_in_its_colour(class_id: int) -> None:
    image = Image.open(io.BytesIO(encode_palette_png(np.full((1, 1), class_id, np.uint16)))).convert("RGB")
    assert image.getpixel((0, 0)) == tuple(colors()[class_id].tolist())


@pytest.mark.parametrize(
    ("class_id", "rgb"),
    [
        pytest.param(0, (0, 0, 0), id="background"),
        pytest.param(1, (128, 0, 0), id="aeroplane"),
        pytest.param(8, (64, 0, 0), id="cat"),
        pytest.param(15, (192, 128, 128), id="person"),
        pytest.param(20, (0, 64, 128), id="tv monitor"),
        pytest.param(255, (224, 224, 192), id="void"),
    ],
)
def test_colours_are_those_of_pascal_voc(class_id: int, rgb: tuple[int, int, int]) -> None:
    assert tuple(colors()[class_id].tolist()) == rgb


def test_all_colours_differ() -> None:
    assert len({tuple(color) for color in colors().tolist()}) == 256


@pytest.mark.parametrize(
    "class_map",
    [
        pytest.param(np.zeros((2, 2), np.float32), id="floats"),
        pytest.param(np.full((2, 2), 256, np.uint16), id="class 256"),
        pytest.param(np.zeros((2, 2, 1), np.uint8), id="three axes"),
        pytest.param(np.zeros((0, 2), np.uint8), id="no pixels"),
    ],
)
def test_what_a_palette_cannot_hold_is_refused(class_map: AnyArray) -> None:
    with pytest.raises(ValueError, match="values below 256"):
        encode_palette_png(class_map)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("color_type", [pytest.param(0, id="grey"), pytest.param(3, id="palette")])
def test_values_of_few_bits_are_read_as_they_are_stored(bits: int, color_type: int) -> None:
    last = 2**bits - 1
    line = (1 << 8 - bits) | (last << 8 - 2 * bits if bits < 8 else 0)  # values 1, last, or 1 alone
    width = 1 if bits == 8 else 2
    header = struct.pack(">IIBBBBB", width, 1, bits, color_type, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3 * 2**bits)) if color_type == 3 else b""
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", zlib.compress(bytes((0, line))))
    assert decode_palette_png(data + chunk(b"IEND", b"")).tolist() == [[1, last][:width]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_bytes_that_are_no_png_are_refused() -> None:
    with pytest.raises(ImageDecodeError, match="one whole PNG"):
        decode_palette_png(b"GIF89a")


def test_a_picture_in_colour_is_no_class_map() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    with pytest.raises(ImageDecodeError, match="got RGB"):
        decode_palette_png(buffer.getvalue())
