"""How many actors a cluster has room for, and how large each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.batch.errors import JobError

MOST_CORES = 4  # of one actor, unless it is said: more share one copy of the weights, and one interpreter lock


@dataclass(frozen=True)
class Places:
    """The pool.

    Attributes:
        actors: how many load the package.
        cores: of each.
        gpus: of each, 0 or 1.
    """

    actors: int
    cores: int
    gpus: int


def places_on(
    machines: Sequence[Mapping[str, float]], *, actors: int | None, cores: int | None, on_gpu: bool
) -> Places:
    """The pool for machines of so many ``CPU`` and ``GPU`` each; raises JobError where none has room for an actor.

    Args:
        machines: Ray's resources of each that is alive.
        actors: how many are wanted; ``None``: as many as there is room for.
        cores: of each; ``None``: those of the smallest machine that counts, at most ``MOST_CORES``.
        on_gpu: whether each runs on a GPU of its own.
    """
    fit = [each for each in machines if each.get("CPU", 0) >= 1 and (not on_gpu or each.get("GPU", 0) >= 1)]
    if not fit:
        raise JobError(f"a machine of the cluster must have a free {'GPU' if on_gpu else 'core'}, none has")
    cpus = [int(each["CPU"]) for each in fit]
    of_each = cores or min(MOST_CORES, *cpus)
    room = sum(
        min(count // of_each, int(each["GPU"])) if on_gpu else count // of_each
        for each, count in zip(fit, cpus, strict=True)
    )
    if room == 0:
        raise JobError(
            f"a machine of the cluster must have the {of_each} cores of an actor, the largest has {max(cpus)}"
        )
    return Places(actors or room, of_each, int(on_gpu))
