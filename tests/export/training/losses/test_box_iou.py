"""Overlaps with gradients against those of the pipelines, in value and in slope."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pytest
import torch

from export.training.losses.box_iou import box_overlap
from pipelines import boxes as exact

Kind = Literal["iou", "giou", "diou", "ciou"]
KINDS = get_args(Kind)


def pairs(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes of which some overlap and some lie apart."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20, (2, count, 2))
    sides = rng.uniform(1, 12, (2, count, 2))
    drawn = np.concatenate((corners, corners + sides), axis=2)
    return torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])


@pytest.mark.parametrize("kind", KINDS)
def test_overlap_is_that_of_the_pipelines(kind: Kind) -> None:
    a, b = pairs()
    expected = getattr(exact, kind)(a.numpy(), b.numpy())
    np.testing.assert_allclose(box_overlap(a, b, kind=kind), expected, atol=1e-8)  # EPS over areas of 1 and more


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_gradient_is_the_slope(kind: Kind) -> None:
    a, b = pairs(8)
    assert torch.autograd.gradcheck(lambda x: box_overlap(x, b, kind=kind), (a.requires_grad_(),))


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_that_lie_apart_are_drawn_together(kind: Kind) -> None:
    a = torch.tensor([[0.0, 0, 4, 4]], requires_grad=True)
    box_overlap(a, torch.tensor([[20.0, 0, 24, 4]]), kind=kind).sum().backward()
    assert a.grad is not None
    assert a.grad[0, 2] > 0


def test_the_same_box_overlaps_wholly_and_no_boxes_give_nothing() -> None:
    a, _ = pairs(3)
    for kind in KINDS:
        assert torch.allclose(box_overlap(a, a, kind=kind), torch.ones(3, dtype=a.dtype))
        assert box_overlap(a[:0], a[:0], kind=kind).shape == (0,)
