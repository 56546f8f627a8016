"""Our face embedder: what it answers, and what its heads add while it trains."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from pydantic import ValidationError

from export.nets import build_model
from export.nets.embedding_heads import ClassCosines, PairLogits
from export.nets.specs import EmbeddingNet


def small(head: Literal["none", "pairs", "classes"] = "none") -> EmbeddingNet:
    return EmbeddingNet(size_hw=(48, 32), color="gray", width=4, dim=16, head=head)


def test_vectors_have_128_values_unless_told_otherwise() -> None:
    assert EmbeddingNet().dim == 128


def test_vectors_have_length_1() -> None:
    module = build_model(small(), num_classes=5).module.eval()
    vectors = module(torch.randn(3, 1, 48, 32))
    assert vectors.shape == (3, 16)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-6)  # float32 has 24 bits.


@pytest.mark.parametrize(("head", "shape"), [("pairs", (4, 4)), ("classes", (4, 5))])
def test_a_head_answers_only_while_the_network_trains(
    head: Literal["pairs", "classes"], shape: tuple[int, int]
) -> None:
    module = build_model(small(head), num_classes=5).module
    rows = torch.randn(4, 1, 48, 32)
    assert module.train()(rows)[1].shape == shape
    assert module.eval()(rows).shape == (4, 16)


def test_the_binary_head_does_not_care_which_image_comes_first() -> None:
    logits = PairLogits(8)(torch.randn(5, 8))
    assert torch.allclose(logits, logits.T)


def test_centres_and_vectors_meet_by_their_angle_alone() -> None:
    head, vectors = ClassCosines(8, 3), torch.randn(4, 8)
    cosines = head(vectors)
    assert torch.allclose(cosines, head(3 * vectors), atol=1e-6)
    assert cosines.abs().max() <= 1 + 1e-6
    expected = torch.cosine_similarity(vectors[1], head.centers[2], dim=0)
    assert torch.allclose(cosines[1, 2], expected, atol=1e-6)


def test_sides_that_16_does_not_divide_are_refused() -> None:
    with pytest.raises(ValidationError, match="size_hw must be multiples of 16"):
        EmbeddingNet(size_hw=(50, 32))
