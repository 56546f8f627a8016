"""Losses over softmax logits against loops written from their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from export.training.losses import NOT_COUNTED, bootstrapped_cross_entropy, cross_entropy, dice, focal
from tests.reference import softmax

CLASSES = 3


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(2, 3, 4, 5)`` and classes of which some are not counted."""
    rng = np.random.default_rng(seed)
    targets = rng.choice([0, 1, 2, NOT_COUNTED], size=(2, 4, 5))
    return torch.from_numpy(rng.normal(size=(2, CLASSES, 4, 5), scale=2)), torch.from_numpy(targets)


def counted(logits: torch.Tensor, targets: torch.Tensor) -> list[tuple[list[float], int]]:
    """Probabilities and class of each pixel that counts."""
    vectors = logits.movedim(1, -1).reshape(-1, CLASSES).tolist()
    return [(softmax(v), c) for v, c in zip(vectors, targets.flatten().tolist(), strict=True) if c != NOT_COUNTED]


def test_cross_entropy_is_the_mean_surprise() -> None:
    logits, targets = drawn()
    expected = np.mean([-math.log(p[c]) for p, c in counted(logits, targets)])
    assert float(cross_entropy(logits, targets)) == pytest.approx(expected)


def test_label_smoothing_spreads_over_all_classes() -> None:
    logits, targets = drawn()
    targets[targets == NOT_COUNTED] = 0
    wanted = [
        -sum((0.1 / CLASSES + 0.9 * (k == c)) * math.log(p[k]) for k in range(CLASSES))
        for p, c in counted(logits, targets)
    ]
    assert float(cross_entropy(logits, targets, label_smoothing=0.1)) == pytest.approx(np.mean(wanted))


def test_bootstrapping_takes_the_hardest() -> None:
    logits, targets = drawn()
    each = sorted((-math.log(p[c]) for p, c in counted(logits, targets)), reverse=True)
    hardest = each[: math.ceil(0.3 * len(each))]
    assert float(bootstrapped_cross_entropy(logits, targets, hardest=0.3)) == pytest.approx(np.mean(hardest))


def test_focal_weighs_by_what_is_missing() -> None:
    logits, targets = drawn()
    expected = np.mean([-((1 - p[c]) ** 2) * math.log(p[c]) for p, c in counted(logits, targets)])
    assert float(focal(logits, targets, gamma=2.0)) == pytest.approx(expected)


def test_dice_is_the_overlap_of_soft_masks() -> None:
    logits, targets = drawn()
    found = counted(logits, targets)
    coefficients = []
    for k in range(CLASSES):
        shared = sum(p[k] for p, c in found if c == k)
        total = sum(p[k] ** 2 for p, _ in found) + sum(c == k for _, c in found)
        coefficients.append(2 * shared / total)
    assert float(dice(logits, targets)) == pytest.approx(1 - np.mean(coefficients))


def test_dice_leaves_out_a_class_that_does_not_occur() -> None:
    targets = torch.zeros((1, 2, 2), dtype=torch.int64)
    logits = torch.tensor([9.0, -9.0, -9.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert float(dice(logits, targets)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0])
def test_without_weight_and_share_all_are_cross_entropy(gamma: float) -> None:
    logits, targets = drawn()
    plain = float(cross_entropy(logits, targets))
    assert float(focal(logits, targets, gamma=gamma)) == pytest.approx(plain)
    assert float(bootstrapped_cross_entropy(logits, targets, hardest=1.0)) == pytest.approx(plain)


def test_where_nothing_counts_there_is_no_loss_and_no_gradient() -> None:
    for loss in (
        lambda x, y: cross_entropy(x, y),
        lambda x, y: bootstrapped_cross_entropy(x, y, hardest=0.5),
        lambda x, y: focal(x, y, gamma=2.0),
        dice,
    ):
        logits = torch.randn(1, CLASSES, 2, 2, requires_grad=True)
        value = loss(logits, torch.full((1, 2, 2), NOT_COUNTED))
        value.backward()
        assert float(value.detach()) == 0
        assert logits.grad is not None
        assert not logits.grad.any()


def test_of_many_classes_each_is_taught() -> None:
    logits, targets = torch.zeros(300, 300), torch.arange(300)
    for each in (cross_entropy(logits, targets), focal(logits, targets, gamma=0.0)):
        assert float(each) == pytest.approx(math.log(300))
    logits.requires_grad_()
    cross_entropy(logits, targets).backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=1) > 0).all()
