"""The learning rate as a function of the step: nothing is remembered, so nothing can be resumed wrongly."""

from __future__ import annotations

import math

from export.training.config import CosineSchedule


def rate_factor(step: int, spec: CosineSchedule, *, steps_per_epoch: int, epochs: int) -> float:
    """Share of the learning rate at ``step`` (from 0): linear up to 1, then half a cosine down to the final share.

    The first step of a warm-up of ``w`` steps has ``1 / w``, so none is lost at rate 0 (arXiv:1706.02677, section 2.2;
    arXiv:1608.03983, equation 5).
    """
    warmup, total = round(spec.warmup_epochs * steps_per_epoch), steps_per_epoch * epochs
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    return spec.final_fraction + (1 - spec.final_fraction) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
