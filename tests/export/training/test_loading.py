"""Which device gets which batch of an epoch."""

from __future__ import annotations

import pytest

from export.training.loading import Place, epoch_places
from tests.export.training.runs import PointsTask


def places(rank: int, *, world_size: int) -> list[list[Place]]:
    return epoch_places(PointsTask(), seed=0, epoch=1, rank=rank, world_size=world_size)


@pytest.mark.parametrize(("world_size", "each"), [(2, 2), (3, 1), (4, 1)])
def test_devices_get_as_many_batches_and_share_none(world_size: int, each: int) -> None:
    shares = [places(rank, world_size=world_size) for rank in range(world_size)]  # of the four batches of an epoch.
    assert [len(share) for share in shares] == [each] * world_size
    taken = [place for share in shares for batch in share for place in batch]
    assert len(set(taken)) == len(taken) == 4 * each * world_size
    assert {*taken} <= {place for batch in places(0, world_size=1) for place in batch}


def test_more_devices_than_batches_get_none() -> None:
    assert places(0, world_size=5) == []
