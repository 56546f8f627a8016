"""Losses of embeddings against loops written from their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from export.training.losses import arcface, info_nce, same_different, triplet

VECTOR_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "triplet": lambda vectors, identities: triplet(vectors, identities, margin=0.3),
    "info_nce": lambda vectors, identities: info_nce(vectors, identities, temperature=0.2),
}


def drawn(identities: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors ``(N, 3)`` float64, and whom they show."""
    vectors = np.random.default_rng(seed).normal(size=(len(identities), 3))
    return torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)), torch.tensor(identities)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(((a - b) ** 2).sum())


def naive_triplet(vectors: torch.Tensor, identities: list[int], margin: float) -> float:
    losses = []
    for i, a in enumerate(vectors):
        for j, p in enumerate(vectors):
            if i == j or identities[i] != identities[j]:
                continue
            near = apart(a, p)
            others = [apart(a, n) for n, who in zip(vectors, identities, strict=True) if who != identities[i]]
            beyond = [far for far in others if far > near]
            losses.append(max(0.0, near - (min(beyond) if beyond else max(others)) + margin))
    return sum(losses) / len(losses)


def naive_info_nce(vectors: torch.Tensor, identities: list[int], temperature: float) -> float:
    losses = []
    for i, a in enumerate(vectors):
        against = sum(
            math.exp(float(a @ n) / temperature)
            for n, who in zip(vectors, identities, strict=True)
            if who != identities[i]
        )
        for j, p in enumerate(vectors):
            if i != j and identities[i] == identities[j]:
                alike = math.exp(float(a @ p) / temperature)
                losses.append(-math.log(alike / (alike + against)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(5))
def test_triplet_takes_the_nearest_negative_beyond_the_positive(seed: int) -> None:
    identities = [0, 0, 1, 1, 1, 2, 2]
    vectors, targets = drawn(identities, seed)
    assert float(triplet(vectors, targets, margin=0.4)) == pytest.approx(naive_triplet(vectors, identities, 0.4))


def test_triplet_takes_the_farthest_negative_where_all_are_nearer_than_the_positive() -> None:
    vectors = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    # d(a, p) = 4 and d(a, n) = 2, both ways round
    assert float(triplet(vectors, torch.tensor([0, 0, 1]), margin=0.5)) == pytest.approx(2.5)


def test_triplet_is_zero_once_identities_lie_apart() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert float(triplet(vectors, torch.tensor([0, 0, 1, 1]), margin=0.2)) == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce_is_the_mean_surprise_of_all_genuine_pairs(seed: int, temperature: float) -> None:
    identities = [0, 1, 0, 1, 1, 2]
    vectors, targets = drawn(identities, seed)
    expected = naive_info_nce(vectors, identities, temperature)
    assert float(info_nce(vectors, targets, temperature=temperature)) == pytest.approx(expected)


@pytest.mark.parametrize("name", VECTOR_LOSSES)
@pytest.mark.parametrize("identities", [[0, 1, 2], [3, 3, 3]], ids=["no genuine pair", "no impostor pair"])
def test_a_batch_that_teaches_nothing_has_a_loss_and_slopes_of_zero(name: str, identities: list[int]) -> None:
    vectors, targets = drawn(identities)
    vectors.requires_grad_()
    loss = VECTOR_LOSSES[name](vectors, targets)
    loss.backward()  # type: ignore[no-untyped-call] # torch's stubs
    assert float(loss.detach()) == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5])
def test_arcface_adds_its_margin_to_the_right_angle(margin: float) -> None:
    cosines = torch.tensor([[0.9, 0.2, -0.4], [0.1, -0.3, 0.8]], dtype=torch.float64)
    expected = []
    for row, right in zip(cosines.tolist(), (0, 1), strict=True):
        logits = [16 * math.cos(math.acos(c) + margin * (k == right)) for k, c in enumerate(row)]
        expected.append(math.log(sum(math.exp(x) for x in logits)) - logits[right])
    found = float(arcface(cosines, torch.tensor([0, 1]), margin=margin, scale=16))
    assert found == pytest.approx(np.mean(expected))


def test_arcface_goes_on_rising_beyond_pi_less_the_margin() -> None:
    angles = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    cosines = torch.stack((angles.cos(), torch.zeros_like(angles)), dim=1)
    losses = [float(arcface(row[None], torch.tensor([0]), margin=0.5, scale=8)) for row in cosines]
    assert all(after > before for before, after in pairwise(losses))


def test_arcface_has_finite_slopes_where_vectors_lie_on_their_centres() -> None:
    cosines = torch.tensor([[1.0, -1.0]], requires_grad=True)
    arcface(cosines, torch.tensor([0]), margin=0.5, scale=64).backward()  # type: ignore[no-untyped-call] # torch's stubs
    assert cosines.grad is not None
    assert torch.isfinite(cosines.grad).all()


def test_same_different_weighs_genuine_and_impostor_pairs_alike() -> None:
    identities = [0, 0, 1, 2, 2]
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)))
    parts: dict[bool, list[float]] = {True: [], False: []}
    for i in range(5):
        for j in range(5):
            if i != j:
                same = identities[i] == identities[j]
                probability = 1 / (1 + math.exp(-float(logits[i, j])))
                parts[same].append(-math.log(probability if same else 1 - probability))
    expected = (np.mean(parts[True]) + np.mean(parts[False])) / 2
    assert float(same_different(logits, torch.tensor(identities))) == pytest.approx(expected)
