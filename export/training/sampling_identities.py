"""Batches of P identities with K images each: every image then meets its own kind and others (arXiv:1703.07737)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def identity_batches(
    identities: Sequence[int], *, batch_size: int, images_each: int, rng: np.random.Generator
) -> list[list[int]]:
    """One epoch: rounds in which every identity comes once, as many as there are images of it on average.

    Each round deals the identities, in random order, to batches of ``batch_size // images_each`` (a last one of a
    single identity is left out), each with its next ``images_each`` images. They come in random order and begin anew,
    in another order, once all were shown.

    Args:
        identities: of each sample.
        batch_size: at least two identities' images.
        images_each: at least 2.
        rng: of all that is random.

    Returns:
        Indices of samples, batch by batch.

    Raises:
        ValueError: a batch would hold fewer than two identities, or there are fewer.
    """
    people = np.unique(identities)
    at_once = batch_size // images_each
    if at_once < 2 or len(people) < 2:
        raise ValueError(
            f"a batch must hold at least 2 identities of {images_each} images, batch_size is {batch_size}, "
            f"there are {len(people)} identities"
        )
    of_person = {person: _endless(np.flatnonzero(np.equal(identities, person)), rng) for person in people.tolist()}
    rounds = max(1, round(len(identities) / (len(people) * images_each)))
    batches = []
    for _ in range(rounds):
        order = rng.permutation(people).tolist()
        for start in range(0, len(order), at_once):
            group = order[start : start + at_once]
            if len(group) > 1:
                batches.append([next(of_person[person]) for person in group for _ in range(images_each)])
    return batches


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(indices).tolist()
