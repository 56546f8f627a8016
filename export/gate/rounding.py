"""How far float32 rounding alone moves a network's outputs: random weights amplify it, learnt ones damp it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from pipelines.manifest import GoldenTolerance
from pipelines.session import CPU

FACTOR = 4.0  # two float32 runs, each that far from the truth, and cases that were not measured
# A twentieth of the deviation that scaled scores have, in float16 a tenth: more would hide a fault.
LARGEST = {"fp32": 0.2, "fp16": 0.4}
COARSER = {"fp32": 1.0, "fp16": 2.0**13}  # 24 significand bits against 11


@torch.no_grad()
def rounding_of(module: nn.Module, batches: Sequence[torch.Tensor]) -> float:
    """Largest absolute difference between the module in float32 and itself in float64."""
    exact = copy.deepcopy(module).double()
    worst = 0.0
    for batch in batches:
        for one, other in zip(_tuple(module(batch)), _tuple(exact(batch.double())), strict=True):
            worst = max(worst, float((one.double() - other).abs().max()) if one.shape == other.shape else 0.0)
    return worst


def with_rounding(tolerance: GoldenTolerance, rounding: float, *, precision: str = "fp32") -> GoldenTolerance:
    """Allow raw outputs on the CPU ``FACTOR`` times the rounding, up to ``LARGEST``, and say so in the reason.

    ``rounding`` is that of float32; float16 is ``COARSER`` than it.
    """
    raw = tolerance.raw[CPU]
    allowed = min(FACTOR * rounding * COARSER[precision], LARGEST[precision])
    if allowed <= raw.atol:
        return tolerance
    reason = f"{tolerance.reason}; these random weights move by {rounding:.1e} when torch computes in float64"
    return tolerance.model_copy(
        update={"raw": {**tolerance.raw, CPU: raw.model_copy(update={"atol": allowed})}, "reason": reason}
    )


def _tuple(answer: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (answer,) if isinstance(answer, torch.Tensor) else tuple(answer)
