"""Resizing like torch: to the bit on uint8, and by the formula where torch is not at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.resample_torch import resize_like_torch
from pipelines.types import AnyArray

Sizes = tuple[tuple[int, int], tuple[int, int]]
sides = st.integers(1, 300)
sizes = st.tuples(st.tuples(sides, sides), st.tuples(sides, sides))
wide = st.tuples(sides, st.integers(2, 300))  # torch 2.14 repeats one value in antialiased float32 of width 1
FIXED: list[Sizes] = [
    ((37, 53), (20, 30)),
    ((37, 53), (80, 91)),
    ((37, 53), (37, 20)),
    ((37, 53), (20, 53)),
    ((720, 1280), (360, 640)),
    ((1000, 1200), (10, 11)),
    ((1500, 3), (2, 3)),
    ((1, 1), (7, 5)),
    ((30, 20), (1, 1)),
]


def noise(hw: tuple[int, int], channels: tuple[int, ...], *, contrast: bool = False) -> AnyArray:
    levels = np.random.default_rng(hw[0] * 1000 + hw[1]).integers(0, 256, (*hw, *channels), np.uint8)
    return np.where(levels > 127, 255, 0).astype(np.uint8) if contrast else levels


def torch_s(image: AnyArray, size_hw: tuple[int, int], *, antialias: bool) -> AnyArray:
    torch = pytest.importorskip("torch", reason="the oracle is in the export extra")
    # Left as a channels-last view: of contiguous planes torch 2.14 cannot make 1 x 1 (an internal assertion).
    tensor = torch.from_numpy(image.reshape(*image.shape[:2], -1)).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(
        tensor, size=size_hw, mode="bilinear", align_corners=False, antialias=antialias
    )
    return made[0].permute(1, 2, 0).numpy().reshape(*size_hw, *image.shape[2:])


def levels_allowed() -> int:
    """0 where torch resizes uint8 as integers; elsewhere it computes in float32 and rounds once, not twice."""
    torch = pytest.importorskip("torch", reason="the oracle is in the export extra")
    return 0 if "AVX" in torch.backends.cpu.get_cpu_capability() else 1


def apart(a: AnyArray, b: AnyArray) -> int:
    return int(np.abs(a.astype(np.int16) - b).max())


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize(("source", "target"), FIXED)
def test_uint8_is_torch_s_to_the_bit(
    source: tuple[int, int], target: tuple[int, int], channels: tuple[int, ...], antialias: bool
) -> None:
    image = noise(source, channels)
    made = resize_like_torch(image, target, antialias=antialias)
    assert apart(made, torch_s(image, target, antialias=antialias)) <= levels_allowed()


@pytest.mark.parametrize("antialias", [False, True])
@settings(max_examples=60)
@given(hw=sizes, contrast=st.booleans())
def test_uint8_of_any_size_is_torch_s(antialias: bool, hw: Sizes, contrast: bool) -> None:
    image = noise(hw[0], (3,), contrast=contrast)
    made = resize_like_torch(image, hw[1], antialias=antialias)
    assert apart(made, torch_s(image, hw[1], antialias=antialias)) <= levels_allowed()


@pytest.mark.parametrize("antialias", [False, True])
@settings(max_examples=60)
@given(hw=st.tuples(wide, wide))
def test_float32_is_torch_s_up_to_the_rounding_of_its_positions(antialias: bool, hw: Sizes) -> None:
    image = noise(hw[0], ()).astype(np.float32) / 255
    made = resize_like_torch(image, hw[1], antialias=antialias)
    # torch's float32 positions of up to 300 pixels have an ulp of 3e-5; a few of them add up in a weight.
    np.testing.assert_allclose(made, torch_s(image, hw[1], antialias=antialias), rtol=0, atol=1e-4)


def test_torchvision_s_resize_of_a_tensor_is_this_one() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is in the export extra")
    v2 = pytest.importorskip("torchvision.transforms.v2", reason="the oracle is in the export extra")
    image = noise((333, 500), (3,))
    expected = v2.Resize((224, 337))(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert apart(resize_like_torch(image, (224, 337), antialias=True), expected) <= levels_allowed()


def naive_line(values: list[float], count: int, *, antialias: bool) -> list[float]:
    """The triangle around each centre, weight by weight."""
    scale = len(values) / count
    reach = max(scale, 1.0) if antialias else 1.0
    made = []
    for i in range(count):
        center = (i + 0.5) * scale
        weights = [max(0.0, 1 - abs(j + 0.5 - center) / reach) for j in range(len(values))]
        made.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return made


@pytest.mark.parametrize("antialias", [False, True])
@given(
    values=st.lists(st.integers(0, 255).map(float), min_size=1, max_size=40),
    count=st.integers(1, 40),
)
def test_a_line_is_mixed_by_the_formula(antialias: bool, values: list[float], count: int) -> None:
    line = np.array([values], np.float32)
    expected = naive_line(values, count, antialias=antialias)
    made = resize_like_torch(line, (1, count), antialias=antialias)
    np.testing.assert_allclose(made, [expected], rtol=1e-5, atol=1e-4)  # float32 sums of 40 terms up to 255
    upright = resize_like_torch(np.ascontiguousarray(line.T), (count, 1), antialias=antialias)
    np.testing.assert_array_equal(upright.T, made)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("source", [1, 7, 1999])
@pytest.mark.parametrize("target", [1, 6, 64])
def test_one_colour_stays_that_colour(source: int, target: int, level: int, antialias: bool) -> None:
    image = np.full((source, 5), level, np.uint8)
    made = resize_like_torch(image, (target, 3), antialias=antialias)
    np.testing.assert_array_equal(made, level)


def test_without_antialias_two_neighbours_make_a_pixel() -> None:
    line = np.array([[0, 0, 0, 100, 200, 0, 0, 0]], np.uint8)
    assert resize_like_torch(line, (1, 1), antialias=False).tolist() == [[150]]
    assert resize_like_torch(line, (1, 1), antialias=True)[0, 0] < 100


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_same_size_is_a_copy(dtype: Any) -> None:
    image = noise((5, 6), (3,)).astype(dtype)
    made = resize_like_torch(image, (5, 6), antialias=True)
    np.testing.assert_array_equal(made, image)
    assert not np.shares_memory(made, image)
