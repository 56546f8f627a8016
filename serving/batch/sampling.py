"""Which images of a job the contact sheet shows: spread evenly over it, though its length is not known before."""

from __future__ import annotations

MOST = 24


def wants(position: int, total: int | None = None) -> bool:
    """Whether the image at this place of the job (from 0) may be shown at its end.

    ``total``: images of the job, so that none is drawn in vain; ``None``: not known yet.
    """
    return position % stride(max(position + 1, total or 0)) == 0


def stride(count: int) -> int:
    """The distance between the images shown of ``count``: the power of two that leaves 13 to 24 of them, or all.

    A longer job keeps every second of those that a shorter one shows: what ``wants`` let go is never missed.
    """
    step = 1
    while step * MOST < count:
        step *= 2
    return step
