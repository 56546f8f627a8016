"""How many windows of an image an epoch sees."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from export.training.augment import Augment
from export.training.windows import windows_of


def test_an_image_without_windows_is_seen_once() -> None:
    assert windows_of((512, 512), Augment()) == 1


@pytest.mark.parametrize(("size_hw", "count"), [((512, 256), 32), ((70, 60), 1), ((20, 20), 1)])
def test_as_many_windows_as_tile_the_image(size_hw: tuple[int, int], count: int) -> None:
    assert windows_of(size_hw, Augment(crop_hw=(64, 64))) == count


def test_as_many_windows_as_are_asked_for() -> None:
    assert windows_of((512, 256), Augment(crop_hw=(64, 64), windows=5)) == 5


def test_windows_need_their_size() -> None:
    with pytest.raises(ValidationError, match="windows act only where crop_hw is given"):
        Augment(windows=5)
