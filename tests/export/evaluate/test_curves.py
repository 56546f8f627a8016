"""Curves whatever classes are called: names are text, not formulas."""

import numpy as np
import pytest

from export.evaluate import curves
from pipelines.image import decode_image


@pytest.mark.parametrize("name", ["$\\frac$", "\\$5", "a$", "ぶどう", "x" * 300])
def test_a_class_may_have_any_name(name: str) -> None:
    counts = np.array([[3, 1, 0], [0, 2, 1]])
    drawn = decode_image(curves.confusion(counts, [name, "other"]), exif="ignore", alpha="white")
    assert min(drawn.shape[:2]) > 300
    assert drawn.min() < 60
    assert drawn.max() == 255
