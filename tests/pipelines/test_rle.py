"""Run lengths against the naive loop and pycocotools, both ways, as numbers and as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.rle import area, compress, decode, decompress, encode, encode_classes
from pipelines.types import AnyArray

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))
CLASS_MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))
RUNS = st.lists(st.integers(0, 2**31 - 1), max_size=20)


def naive(mask: AnyArray) -> list[int]:
    counts, inside = [0], False
    for pixel in (value for column in mask.T.tolist() for value in column):
        if bool(pixel) != inside:
            counts.append(0)
            inside = not inside
        counts[-1] += 1
    return counts


def blobs(hw: tuple[int, int]) -> AnyArray:
    """Some discs and a band that leaves the image."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    discs = [(y - cy) ** 2 + (x - cx) ** 2 < r * r for cy, cx, r in ((30, 40, 20), (80, 150, 45), (60, 60, 33))]
    return np.logical_or.reduce([*discs, np.abs(x - y - 40) < 5])


def coco() -> Any:
    return pytest.importorskip("pycocotools.mask", reason="the oracle is in the export extra")


@given(MASKS)
def test_runs_are_those_of_the_naive_loop(mask: AnyArray) -> None:
    assert encode(mask).tolist() == naive(mask)


@given(MASKS)
def test_a_mask_comes_back_from_its_runs_and_from_their_text(mask: AnyArray) -> None:
    counts = encode(mask)
    np.testing.assert_array_equal(decode(counts, mask.shape), mask)
    np.testing.assert_array_equal(decode(decompress(compress(counts)), mask.shape), mask)
    assert area(counts) == mask.sum()


@given(CLASS_MAPS)
def test_each_class_has_the_runs_of_its_own_mask(class_map: AnyArray) -> None:
    found = encode_classes(class_map)
    assert list(found) == sorted(set(class_map.ravel().tolist()) - {0})
    for class_id, counts in found.items():
        assert counts.tolist() == naive(class_map == class_id)


@given(RUNS)
def test_text_of_any_runs_comes_back(counts: list[int]) -> None:
    assert decompress(compress(counts)).tolist() == counts
    assert decompress(compress(counts).encode()).tolist() == counts


@given(MASKS)
def test_text_is_pycocotools_s(mask: AnyArray) -> None:
    expected = coco().encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert compress(encode(mask)) == expected


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, under numpy 2
@pytest.mark.parametrize("hw", [(120, 200), (720, 1280), (1, 5000), (5000, 1)])
def test_large_masks_go_both_ways_with_pycocotools(hw: tuple[int, int]) -> None:
    mask = blobs(hw)
    theirs = coco().encode(np.asfortranarray(mask.astype(np.uint8)))
    text = compress(encode(mask))
    assert text == theirs["counts"].decode()
    np.testing.assert_array_equal(coco().decode({"size": list(hw), "counts": text}), mask)
    np.testing.assert_array_equal(decode(decompress(theirs["counts"]), hw), mask)
    assert area(decompress(theirs["counts"])) == coco().area(theirs)


def test_numbers_become_pycocotools_s_text() -> None:
    counts = [0, 7, 600_000, 12, 4, 0, 320_000]
    side = sum(counts)
    theirs = coco().frPyObjects({"size": [side, 1], "counts": counts}, side, 1)
    assert compress(counts) == theirs["counts"].decode()


def test_runs_by_hand() -> None:
    mask = np.array([[0, 1, 1], [1, 1, 0]])
    assert encode(mask).tolist() == [1, 4, 1]
    # 1, 4 and 1 are below 16: one character each; the fourth is a difference from the second.
    assert compress([1, 4, 1]) == "141"
    assert compress([1, 4, 1, 3, 40]) == "141OW1"  # -1 is 31; 39 is 7 and more, then 1


@pytest.mark.parametrize(("inside", "counts"), [(False, [12]), (True, [0, 12])])
def test_an_empty_and_a_full_mask(inside: bool, counts: list[int]) -> None:
    assert encode(np.full((3, 4), inside)).tolist() == counts
    np.testing.assert_array_equal(decode(counts, (3, 4)), np.full((3, 4), inside))


@pytest.mark.parametrize("hw", [(0, 4), (3, 0)])
def test_a_mask_without_pixels_has_one_empty_run(hw: tuple[int, int]) -> None:
    assert encode(np.zeros(hw, bool)).tolist() == [0]
    assert decode([0], hw).shape == hw
    assert encode_classes(np.zeros(hw, np.uint8)) == {}


def test_no_runs_are_no_text() -> None:
    assert compress([]) == ""
    assert decompress("").tolist() == []


@pytest.mark.parametrize("counts", [[5, 6], [13], [-1, 13], [], [2**62, 2**62, 2**62, 2**62, 12]])
def test_runs_that_do_not_fill_the_image_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more and sum to 3 x 4"):
        decode(counts, (3, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("14P", "whole numbers"),  # more is announced, nothing follows
        ("1 4", "whole numbers"),
        ("1p", "whole numbers"),
        ("1\N{LATIN SMALL LETTER E WITH ACUTE}", "whole numbers"),
        (b"1\xff", "whole numbers"),
        ("PPPPPPP1", "at most 7 characters, got 8"),
        ("1O", "0 or more, got -1"),
    ],
)
def test_what_is_no_text_of_runs_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompress(text)
