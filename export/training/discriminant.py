"""Where an embedder's last layer begins: the linear discriminant of the training images (Fisherfaces)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from export.nets.embedding_net import TwinNet
from export.training.task import Task
from pipelines.errors import RecipeError
from pipelines.types import AnyArray

VIEWS = 6  # augmented copies of each image: they show what may differ between images of one identity.
_ROWS = 32  # run at once: more only take more memory.
_EVEN_SHARE = 0.1  # of the within-class scatter that is taken to be alike in all directions; few images know the rest.


def discriminant(features: AnyArray, identities: AnyArray, dim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The projection that spreads identities most against what differs within each.

    The features' ``dim`` principal components, in which the scatter within identities is then made equal in all
    directions (Belhumeur and others, "Eigenfaces vs. Fisherfaces", 1997, section 2.4); a share of it is replaced by an
    even one (Friedman, "Regularized Discriminant Analysis", 1989, equation 18).

    Args:
        features: ``(N, F)``.
        identities: ``(N,)``, of each.
        dim: at most ``F`` and ``N - 1``.

    Returns:
        The matrix ``(F, dim)`` and the features' mean ``(F,)``, which is to be taken away first.

    Raises:
        ValueError: there are too few features, or too few of them differ.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    _, spreads, axes = np.linalg.svd(centred, full_matrices=False)
    rank = int((spreads > spreads.max() * 1e-9).sum()) if len(spreads) else 0
    if rank < dim:
        raise ValueError(f"{dim} directions must differ among the features, {rank} do")
    axes = axes[:dim].T
    reduced = centred @ axes
    within = np.zeros((dim, dim))
    for identity in np.unique(identities):
        own = reduced[identities == identity]
        own = own - own.mean(axis=0)
        within += own.T @ own
    within /= len(reduced)
    even = reduced.var(axis=0).mean() * np.eye(dim)
    scatter = (1 - _EVEN_SHARE) * within + _EVEN_SHARE * even
    return axes @ np.linalg.inv(np.linalg.cholesky(scatter)).T, mean


@torch.no_grad()
def start_projection(net: TwinNet, task: Task, count: int, *, seed: int) -> str:
    """Set the last layer of ``net`` from augmented training images, and say from how many.

    Args:
        net: its backbone is as it is to be; its norms and projection are set.
        task: makes samples of a row and an identity.
        count: training images.
        seed: of the augmentation.

    Raises:
        RecipeError: the images do not span ``dim`` directions.
    """
    net.eval().to(memory_format=torch.channels_last)
    maps, identities = [], []
    places = [(view, index) for view in range(VIEWS) for index in range(count)]
    for start in range(0, len(places), _ROWS):
        samples = [
            task.sample(index, np.random.default_rng((seed, view, index))) for view, index in places[start:][:_ROWS]
        ]
        rows, people = task.collate(samples)
        maps.append(net.maps(rows))
        identities.append(people)
    seen = torch.cat(maps)
    net.scale.running_mean = seen.mean(dim=(0, 2, 3))
    net.scale.running_var = seen.var(dim=(0, 2, 3))
    features = net.scale(seen).flatten(1).double().numpy()
    try:
        matrix, mean = discriminant(features, torch.cat(identities).numpy(), net.project.out_features)
    except ValueError as error:
        raise RecipeError(f"model.projection cannot be discriminant: {error}") from error
    vectors = (features - mean) @ matrix
    matrix = matrix / vectors.std()  # the loss sees directions alone; values near 1 suit the optimiser.
    spread = torch.from_numpy(vectors.std(axis=0) / vectors.std()).float()
    net.project.weight.copy_(torch.from_numpy(matrix.T))
    net.norm.running_mean = torch.from_numpy(mean @ matrix).float()
    net.norm.running_var = spread**2
    net.norm.weight.copy_(spread)
    return f"the projection starts from {len(features)} views of {count} images"
