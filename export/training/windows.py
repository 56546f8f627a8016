"""How often an epoch sees an image that is larger than what a step can hold."""

from __future__ import annotations

from export.training.augment.spec import Augment


def windows_of(size_hw: tuple[int, int], spec: Augment) -> int:
    """Windows of an image of ``size_hw`` in one epoch: those that ``spec`` names, else as many as tile it; at least 1.

    Without windows, the image is seen once.
    """
    if spec.crop_hw is None:
        return 1
    return spec.windows or max(1, round(size_hw[0] * size_hw[1] / (spec.crop_hw[0] * spec.crop_hw[1])))
