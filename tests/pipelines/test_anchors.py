"""Anchors: naive loops, torchvision's own generators, and only those that are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from pipelines.anchors import make_anchors, make_squares
from pipelines.specs import DefaultBoxes, DefaultLevel, SizedAnchors, SizedLevel
from tests.pipelines.decoders import naive_anchors

ROWS = st.tuples(st.integers(1, 150), st.integers(1, 150))
STEPS = st.sampled_from(["stride", "spread", "spread_floor"])
RATIOS = st.lists(st.sampled_from([0.3, 0.5, 1.0, 1.7, 3.0]), min_size=1, max_size=3)


def sized(**over: Any) -> SizedAnchors:
    fields: dict[str, Any] = {
        "kind": "sized",
        "levels": (
            SizedLevel(stride=16, sizes=(20.0, 33.0), aspect_ratios=(0.5, 1.0, 2.0)),
            SizedLevel(stride=32, sizes=(64.0,), aspect_ratios=(1.0,)),
        ),
        "order": "ratio_major",
        "rounding": "half_even",
        "center_shift": 0.0,
        "step": "spread_floor",
    }
    return SizedAnchors(**(fields | over))


def defaults(**over: Any) -> DefaultBoxes:
    fields: dict[str, Any] = {
        "kind": "default_boxes",
        "levels": (DefaultLevel(stride=16, aspect_ratios=(2.0, 3.0)), DefaultLevel(stride=64, aspect_ratios=())),
        "scales": (0.2, 0.5, 0.9),
        "clip": True,
        "step": "spread",
    }
    return DefaultBoxes(**(fields | over))


def image_list(row_hw: tuple[int, int]) -> ImageList:
    return ImageList(torch.zeros(1, 3, *row_hw), [row_hw])


def features(row_hw: tuple[int, int], strides: list[int]) -> list[torch.Tensor]:
    return [torch.zeros(1, 1, -(-row_hw[0] // stride), -(-row_hw[1] // stride)) for stride in strides]


@given(
    row_hw=ROWS,
    order=st.sampled_from(["ratio_major", "size_major"]),
    rounding=st.sampled_from(["half_even", "none"]),
    center_shift=st.sampled_from([0.0, 0.5, -0.25]),
    step=STEPS,
    ratios=RATIOS,
)
def test_sized_anchors_equal_the_naive_loop(row_hw: tuple[int, int], ratios: list[float], **fields: Any) -> None:
    levels = (
        SizedLevel(stride=16, sizes=(20.3, 33.0), aspect_ratios=tuple(ratios)),
        SizedLevel(stride=50, sizes=(71.0,), aspect_ratios=(1.0,)),
    )
    spec = sized(levels=levels, **fields)
    expected = naive_anchors.anchors(spec, row_hw)
    anchors = make_anchors(spec, row_hw)
    assert len(anchors) == len(expected)
    assert_allclose(anchors.all(), expected, atol=1e-4)  # shapes are float32


@given(row_hw=ROWS, clip=st.booleans(), step=st.sampled_from(["stride", "spread"]), ratios=RATIOS)
def test_default_boxes_equal_the_naive_loop(row_hw: tuple[int, int], ratios: list[float], **fields: Any) -> None:
    levels = (DefaultLevel(stride=16, aspect_ratios=tuple(ratios)), DefaultLevel(stride=64, aspect_ratios=()))
    spec = defaults(levels=levels, **fields)
    expected = naive_anchors.anchors(spec, row_hw)
    anchors = make_anchors(spec, row_hw)
    assert len(anchors) == len(expected)
    assert_allclose(anchors.all(), expected, atol=1e-9)


# The stride may not exceed the row: torchvision's step would be 0 there only if it had no cells.
@given(
    row_hw=st.tuples(st.integers(64, 200), st.integers(64, 200)),
    sizes=st.lists(st.integers(4, 90), min_size=1, max_size=3, unique=True),
    ratios=RATIOS,
)
@settings(max_examples=50)
def test_sized_anchors_are_those_of_torchvision(row_hw: tuple[int, int], sizes: list[int], ratios: list[float]) -> None:
    levels = tuple(
        SizedLevel(stride=stride, sizes=tuple(sizes), aspect_ratios=tuple(ratios)) for stride in (16, 32, 64)
    )
    generator = AnchorGenerator((tuple(sizes),) * 3, (tuple(ratios),) * 3)
    (expected,) = generator(image_list(row_hw), features(row_hw, [16, 32, 64]))
    assert_array_equal(make_anchors(sized(levels=levels), row_hw).all(), expected.numpy())


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [None, [16, 32]])
@pytest.mark.parametrize("row_hw", [(96, 96), (80, 150)])
def test_default_boxes_are_those_of_torchvision(row_hw: tuple[int, int], steps: list[int] | None, clip: bool) -> None:
    spec = defaults(
        levels=(DefaultLevel(stride=16, aspect_ratios=(2.0,)), DefaultLevel(stride=32, aspect_ratios=(2.0, 3.0))),
        clip=clip,
        step="spread" if steps is None else "stride",
    )
    generator = DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.5, 0.9], steps=steps, clip=clip)
    (expected,) = generator(image_list(row_hw), features(row_hw, [16, 32]))
    # torchvision computes fractions in float32 and multiplies by up to 150.
    assert_allclose(make_anchors(spec, row_hw).all(), expected.numpy(), atol=5e-5)


def test_corners_are_rounded_to_even_around_the_centre() -> None:
    # Size 32, height / width 0.5: halves 22.63 and 11.31. Size 45, ratio 1: halves of 22.5 go to 22.
    spec = sized(levels=(SizedLevel(stride=64, sizes=(32.0, 45.0), aspect_ratios=(0.5, 1.0)),))
    found = make_anchors(spec, (64, 64)).all()
    assert_array_equal(found[0], [-23, -11, 23, 11])
    assert_array_equal(found[3], [-22, -22, 22, 22])


def test_size_major_lists_the_ratios_of_the_first_size_first() -> None:
    level = SizedLevel(stride=64, sizes=(16.0, 64.0), aspect_ratios=(0.25, 4.0))
    sides = {
        order: (lambda b: (b[:, 2:] - b[:, :2]).tolist())(
            make_anchors(sized(levels=(level,), order=order), (64, 64)).all()
        )
        for order in ("ratio_major", "size_major")
    }
    assert sides["ratio_major"] == [[32, 8], [128, 32], [8, 32], [32, 128]]
    assert sides["size_major"] == [[32, 8], [8, 32], [128, 32], [32, 128]]


@pytest.mark.parametrize(
    ("step", "second"),
    [
        pytest.param("stride", 32, id="cells of the stride"),
        pytest.param("spread", 25, id="cells share the row: 100 / 4"),
        pytest.param("spread_floor", 25, id="rounded down"),
    ],
)
def test_the_step_between_centres(step: str, second: float) -> None:
    level = SizedLevel(stride=32, sizes=(2.0,), aspect_ratios=(1.0,))
    found = make_anchors(sized(levels=(level,), step=step), (32, 100)).all()
    assert found[1].tolist() == [second - 1, -1, second + 1, 1]


def test_a_spread_step_that_is_not_whole_is_kept_or_rounded_down() -> None:
    level = SizedLevel(stride=32, sizes=(2.0,), aspect_ratios=(1.0,))
    found = {
        step: make_anchors(sized(levels=(level,), step=step), (32, 70)).all()[2][0] + 1
        for step in ("spread", "spread_floor")
    }
    assert found["spread"] == pytest.approx(2 * 70 / 3)
    assert found["spread_floor"] == 2 * 23


@given(st.data())
def test_asking_for_some_anchors_gives_those_of_all(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([sized(), defaults()]))
    anchors = make_anchors(spec, data.draw(ROWS))
    indices = np.array(data.draw(st.lists(st.integers(0, len(anchors) - 1), max_size=20)), np.int64)
    assert_array_equal(anchors.at(indices), anchors.all()[indices])


def test_asking_for_no_anchors_gives_none() -> None:
    assert make_anchors(sized(), (64, 64)).at(np.array([], np.int64)).shape == (0, 4)


def test_squares_of_a_cell_share_its_centre() -> None:
    found = make_squares([(8, (4, 10))], (8, 16), center_shift=0.5, step="stride").all()
    assert found.tolist() == [[2, 2, 6, 6], [-1, -1, 9, 9], [10, 2, 14, 6], [7, -1, 17, 9]]


@pytest.mark.parametrize("name", ["retinanet", "ssd300", "ssdlite"])
def test_a_level_has_as_many_cells_as_the_published_model(name: str) -> None:
    # Strides of the models; the fixtures come from the real backbones, at rows that are no multiple of each.
    strides = {
        "retinanet": (8, 16, 32, 64, 128),
        "ssd300": (8, 16, 32, 64, 100, 300),
        "ssdlite": (16, 32, 64, 128, 256, 512),
    }
    per_cell = {"retinanet": (9,) * 5, "ssd300": (4, 6, 6, 6, 4, 4), "ssdlite": (6,) * 6}
    folder = Path(__file__).parents[1] / "fixtures" / "decoders" / "box_delta"
    with np.load(folder / f"{name}.npz") as fixture:
        row_hw = (int(fixture["row_hw"][0]), int(fixture["row_hw"][1]))
        count = len(fixture["anchors"])
    sides = [(s, (1,) * n) for s, n in zip(strides[name], per_cell[name], strict=True)]
    assert len(make_squares(sides, row_hw, center_shift=0, step="stride")) == count


def test_scales_must_be_one_more_than_levels() -> None:
    with pytest.raises(ValidationError, match="scales must be 3, one more than levels, got 2"):
        defaults(scales=(0.2, 0.5))
