"""Class maps with a palette: values survive, colours are Pascal VOC's."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pipelines.errors import ImageDecodeError
from pipelines.palette import colors, decode_palette_png, encode_palette_png
from pipelines.types import AnyArray
from tests.pngs import few_bits_png


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
@pytest.mark.parametrize("palette", [False, True], ids=["grey", "palette"])
def test_values_of_few_bits_are_read_as_they_are_stored(bits: int, palette: bool) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7)).astype(np.uint8)
    np.testing.assert_array_equal(decode_palette_png(few_bits_png(values, bits=bits, palette=palette)), values)


def test_bytes_that_are_no_png_are_refused() -> None:
    with pytest.raises(ImageDecodeError, match="one whole PNG"):
        decode_palette_png(b"GIF89a")


def test_a_picture_in_colour_is_no_class_map() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    with pytest.raises(ImageDecodeError, match="got RGB"):
        decode_palette_png(buffer.getvalue())
