"""Room for actors is counted machine by machine."""

from __future__ import annotations

import pytest

from serving.batch.errors import JobError
from serving.batch.on_ray.places import Places, places_on


@pytest.mark.parametrize(
    ("machines", "over", "expected"),
    [
        ([{"CPU": 2.0}], {}, Places(1, 2, 0)),  # all of a small machine
        ([{"CPU": 16.0}, {"CPU": 8.0}], {}, Places(6, 4, 0)),
        ([{"CPU": 16.0}, {"CPU": 1.0}], {}, Places(17, 1, 0)),  # the smallest decides
        ([{"CPU": 7.0}, {"CPU": 3.0}], {"cores": 4}, Places(1, 4, 0)),  # cores of two machines make no actor
        ([{"CPU": 8.0}], {"actors": 1}, Places(1, 4, 0)),
        ([{"CPU": 8.0}, {"memory": 1.0}], {}, Places(2, 4, 0)),  # a head that takes no work
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}], {"on_gpu": True}, Places(2, 4, 1)),
    ],
)
def test_the_pool_fits_the_machines(machines: list[dict[str, float]], over: dict[str, object], expected: Places):
    wanted = {"actors": None, "cores": None, "on_gpu": False} | over
    assert places_on(machines, **wanted) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machines", "over", "said"),
    [
        ([{"CPU": 2.0}, {"CPU": 3.0}], {"cores": 4}, "must have the 4 cores of an actor, the largest has 3"),
        ([{"CPU": 2.0}], {"on_gpu": True}, "must have a free GPU, none has"),
        ([{"memory": 1.0}], {}, "must have a free core, none has"),
    ],
)
def test_no_room_at_all_is_said(machines: list[dict[str, float]], over: dict[str, object], said: str):
    with pytest.raises(JobError, match=said):
        places_on(machines, **({"actors": None, "cores": None, "on_gpu": False} | over))  # type: ignore[arg-type]
