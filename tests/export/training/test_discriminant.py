"""The linear discriminant that a projection may start from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.nets import build_model
from export.nets.embedding_net import TwinNet
from export.nets.specs import EmbeddingNet
from export.training.discriminant import discriminant, start_projection
from pipelines.errors import RecipeError


class Rows:
    """A task of random rows, four of each identity; it makes samples and collates them, and is asked nothing else."""

    def __init__(self, count: int) -> None:
        self._rows = np.random.default_rng(0).normal(size=(count, 1, 16, 16)).astype(np.float32)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        return self._rows[index] + rng.normal(scale=0.1, size=(1, 16, 16)).astype(np.float32), index // 4

    def collate(self, samples: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        rows, identities = zip(*samples, strict=True)
        return torch.from_numpy(np.stack(rows)), torch.tensor(identities)


def clouds(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Thirty identities that differ along the first two axes; what differs within them is larger, along the others."""
    centres = np.zeros((30, 6))
    centres[:, :2] = rng.normal(size=(30, 2))
    identities = np.repeat(np.arange(30), 8)
    noise = rng.normal(size=(240, 6)) * (0.1, 0.1, 3, 3, 3, 3)
    return centres[identities] + noise, identities


def ratio(features: np.ndarray, identities: np.ndarray) -> float:
    """Spread between identities over the spread within them."""
    means = np.stack([features[identities == i].mean(axis=0) for i in range(30)])
    return float(means.var(axis=0).sum() / (features - means[identities]).var(axis=0).sum())


def test_identities_lie_further_apart_than_in_the_features_themselves() -> None:
    features, identities = clouds(np.random.default_rng(0))
    matrix, mean = discriminant(features, identities, 6)
    assert ratio((features - mean) @ matrix, identities) > 2 * ratio(features, identities)


def test_what_differs_within_identities_becomes_alike_in_all_directions() -> None:
    features, identities = clouds(np.random.default_rng(1))
    matrix, mean = discriminant(features, identities, 6)
    vectors = (features - mean) @ matrix
    means = np.stack([vectors[identities == i].mean(axis=0) for i in range(30)])
    spreads = (vectors - means[identities]).std(axis=0)
    assert spreads.max() / features.std(axis=0).max() < 1
    assert spreads[:4].max() < 1.3 * spreads[:4].min()  # the rest is the even share, which is most where little differs


def test_more_directions_than_the_features_have_are_refused() -> None:
    with pytest.raises(ValueError, match="8 directions must differ among the features, 6 do"):
        discriminant(*clouds(np.random.default_rng(0)), 8)


def network(dim: int) -> TwinNet:
    torch.manual_seed(0)
    spec = EmbeddingNet(size_hw=(16, 16), color="gray", width=4, stages=2, average=2, mirrored=True, dim=dim)
    module = build_model(spec, num_classes=5).module
    assert isinstance(module, TwinNet)
    return module


def test_the_network_answers_what_the_discriminant_does() -> None:
    net, task = network(8), Rows(20)
    told = start_projection(net, task, 20, seed=0)  # type: ignore[arg-type]  # a task has more, which is not asked for
    rows, _ = task.collate([task.sample(i, np.random.default_rng(9)) for i in range(20)])
    with torch.no_grad():
        features = net.scale(net.maps(rows)).flatten(1)
        before = net.project(features) - net.norm.running_mean
        vectors = net.eval()(rows)
    assert told == "the projection starts from 120 views of 20 images"
    # norm divides by the spread and multiplies with it again; eps of 1e-5 beside a variance near 1.
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(before), atol=1e-3, rtol=1e-3)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(RecipeError, match="64 directions must differ among the features"):
        start_projection(network(64), Rows(4), 4, seed=0)  # type: ignore[arg-type]  # as above


def test_a_mirrored_network_answers_the_same_for_the_mirror_image() -> None:
    net = network(8).eval()
    rows = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(rows), net(rows.flip(-1)), atol=1e-6, rtol=1e-5)  # two sums in another order
