"""Boxes that crowd: what suppression and fusion are tried on."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.types import FloatArray
from tests.builders import f32


def crowd(count: int, *, seed: int, spread: float = 40.0) -> tuple[FloatArray, FloatArray]:
    """Boxes that overlap a lot, with scores all different."""
    random = np.random.default_rng(seed)
    top_left = random.uniform(0, spread, (count, 2))
    boxes = np.concatenate((top_left, top_left + random.uniform(5, 30, (count, 2))), axis=1).astype(np.float32)
    return boxes, f32(random.permutation(count) / max(1, count))


@st.composite
def tied_crowds(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, Any]:
    """Boxes on a coarse lattice with few different scores: full of ties, duplicates and boxes without area."""
    count = draw(st.integers(0, 12))
    boxes = draw(arrays(np.float32, (count, 4), elements=st.integers(0, 8)))
    scores = draw(arrays(np.float32, count, elements=st.sampled_from([0.25, 0.5, 0.75])))
    return boxes, scores, draw(arrays(np.int64, count, elements=st.integers(0, 2)))
