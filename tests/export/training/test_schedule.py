"""The learning rate over a run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from export.training.config import CosineSchedule
from export.training.schedule import rate_factor


def rates(**over: float) -> list[float]:
    return [rate_factor(step, CosineSchedule(**over), steps_per_epoch=10, epochs=5) for step in range(51)]


def test_warm_up_is_linear_and_ends_at_the_full_rate() -> None:
    assert rates(warmup_epochs=1.0)[:10] == pytest.approx([i / 10 for i in range(1, 11)])


def test_after_the_warm_up_the_rate_only_falls_to_its_end() -> None:
    found = rates(warmup_epochs=1.0, final_fraction=0.1)
    assert all(after <= before for before, after in pairwise(found[10:]))
    assert found[10] == 1
    assert found[-1] == pytest.approx(0.1)


def test_half_way_down_the_cosine_is_half() -> None:
    assert rates()[25] == pytest.approx(0.5)
