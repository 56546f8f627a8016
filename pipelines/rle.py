"""COCO's run lengths: masks as numbers or text, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray

Counts = NDArray[np.int64]

_BITS = 5  # a character carries 5 bits of a number, and a sixth that says whether more follow.
_MORE, _SIGN, _FIRST = 32, 16, 48
_MAX_CHARACTERS = 7  # 34 bits and a sign: more than any image has pixels.


def encode(mask: AnyArray) -> Counts:
    """Lengths of alternating runs of pixels outside and inside a mask, down the first column, then the second ...

    Args:
        mask: ``(H, W)`` bool or integer; a pixel is inside where it is not 0.

    Returns:
        ``(R,)`` int64, the first run is outside and may be 0; they sum to ``H * W``.
    """
    columns = mask.ravel(order="F") != 0
    edges = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts_inside = columns[:1].any()
    return np.diff(np.concatenate(([0, 0] if starts_inside else [0], edges, [columns.size])))


def encode_classes(class_map: AnyArray) -> dict[int, Counts]:
    """The run lengths of each class above 0 that has a pixel, by class id, ascending.

    Args:
        class_map: ``(H, W)`` uint8 or uint16.
    """
    columns = class_map.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(columns[1:] != columns[:-1]) + 1))  # of runs of one class each
    values = columns[starts] if columns.size else columns
    bounds = np.concatenate((starts, [columns.size]))
    found = {}
    for class_id in np.unique(values[values > 0]).tolist():
        inside = np.concatenate(([False], values == class_id, [False]))
        turns = bounds[np.flatnonzero(inside[1:] != inside[:-1])]  # pixels where the class begins and ends, in turns
        behind = bounds[-1:] if turns[-1] < columns.size else bounds[:0]
        found[class_id] = np.diff(np.concatenate(([0], turns, behind)))
    return found


def decode(counts: Counts | Sequence[int], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Turn run lengths back into a mask ``(H, W)`` bool; raises ValueError where they do not sum to its pixels."""
    runs = np.asarray(counts, np.int64)
    height, width = hw
    # Each alone first: a sum of runs beyond any image wraps around.
    if min(height, width) < 0 or ((runs < 0) | (runs > height * width)).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths must be 0 or more and sum to {height} x {width}, they sum to {runs.sum():,}")
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(columns.reshape(width, height).T)


def area(counts: Counts | Sequence[int]) -> int:
    """Pixels inside the mask of run lengths."""
    return int(np.asarray(counts, np.int64)[1::2].sum())


def compress(counts: Counts | Sequence[int]) -> str:
    """Run lengths as COCO's text.

    From the fourth on, a run is written as its difference from the run two before it. A number is written in groups of
    5 bits, lowest first, until the rest is the sign alone; 32 is added where more follow, and 48 makes it a character.

    Args:
        counts: 0 or more, below 2**31 each.
    """
    runs = np.asarray(counts, np.int64)
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    group = np.arange(_MAX_CHARACTERS)
    limits = 1 << (_BITS * (group + 1) - 1)  # group + 1 characters hold -limit up to limit - 1
    last = ((numbers[:, None] >= limits) | (numbers[:, None] < -limits)).sum(axis=1)[:, None]  # (R, 1)
    codes = (numbers[:, None] >> (_BITS * group)) & (_MORE - 1)
    codes += np.where(group < last, _MORE, 0) + _FIRST
    return codes[group <= last].astype(np.uint8).tobytes().decode("ascii")


def decompress(text: str | bytes) -> Counts:
    """COCO's text as run lengths ``(R,)`` int64.

    Raises:
        ValueError: the text is not made of whole numbers in COCO's characters, or a run is below 0.
    """
    data = text.encode() if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - _FIRST
    ends = np.flatnonzero((codes & _MORE) == 0)
    if ((codes < 0) | (codes >= 2 * _MORE)).any() or (codes[-1:] & _MORE).any():
        raise ValueError("run lengths must be whole numbers in the characters '0' to 'o'")
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    characters = ends + 1 - starts
    if characters.max(initial=0) > _MAX_CHARACTERS:
        raise ValueError(f"a run length must have at most {_MAX_CHARACTERS} characters, got {characters.max()}")
    place = np.arange(codes.size) - np.repeat(starts, characters)  # of a character in its number
    bits = (codes & (_MORE - 1)) << (_BITS * place)
    numbers = np.add.reduceat(bits, starts) if starts.size else bits
    numbers -= np.where(codes[ends] & _SIGN, 1 << (_BITS * characters), 0)
    for first in (1, 2):  # each is a difference from the run two before it; the first run stands alone.
        numbers[first::2] = np.cumsum(numbers[first::2])
    if (numbers < 0).any():
        raise ValueError(f"run lengths must be 0 or more, got {numbers.min():,}")
    return numbers
