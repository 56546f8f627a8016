"""Batches of P identities with K images each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from export.training.sampling_identities import identity_batches

PEOPLE = [person for person in range(7) for _ in range(6)]


def test_each_batch_holds_some_identities_with_as_many_images_of_each() -> None:
    for batch in identity_batches(PEOPLE, batch_size=9, images_each=3, rng=np.random.default_rng(0))[:2]:
        assert set(Counter(PEOPLE[i] for i in batch).values()) == {3}
        assert len({PEOPLE[i] for i in batch}) == 3


def test_all_images_come_before_one_comes_again() -> None:
    batches = identity_batches(PEOPLE[:36], batch_size=12, images_each=3, rng=np.random.default_rng(0))
    assert sorted(i for batch in batches for i in batch) == list(range(36))


def test_an_identity_with_few_images_shows_them_again() -> None:
    batches = identity_batches([0, 1, 1, 1, 1], batch_size=8, images_each=4, rng=np.random.default_rng(0))
    assert [sorted(batch) for batch in batches] == [[0, 0, 0, 0, 1, 2, 3, 4]]


def test_a_last_batch_of_a_single_identity_is_left_out() -> None:
    batches = identity_batches(PEOPLE, batch_size=9, images_each=3, rng=np.random.default_rng(0))
    assert all(len({PEOPLE[i] for i in batch}) > 1 for batch in batches)
    assert len(batches) == 4  # two rounds of 3 + 3 + 1 identities


def test_the_order_follows_from_the_random_numbers() -> None:
    first, again, other = (
        identity_batches(PEOPLE, batch_size=8, images_each=4, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(("identities", "batch_size"), [([0, 0, 1, 1], 3), ([5, 5, 5], 8)])
def test_a_batch_must_hold_two_identities(identities: list[int], batch_size: int) -> None:
    with pytest.raises(ValueError, match="at least 2 identities"):
        identity_batches(identities, batch_size=batch_size, images_each=2, rng=np.random.default_rng(0))
