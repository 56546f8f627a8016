"""How far raw outputs may drift on each execution provider, and why: written into every manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.manifest import GoldenTolerance, RawTolerance


@dataclass(frozen=True)
class ProviderDrift:
    """A raw tolerance and the arithmetic that makes it necessary."""

    tolerance: RawTolerance
    reason: str


# float32 graphs, outputs of the order of 1 (probabilities, logits, offsets). Measured on the zoo's five models:
# another CPU family or onnxruntime release moves a value by up to 2e-5; convolutions with TF32 inputs (emulated by
# rounding data and weights to 11 significand bits) move it by up to 9e-3.
FLOAT32_DRIFT: Mapping[str, ProviderDrift] = {
    "CPUExecutionProvider": ProviderDrift(
        RawTolerance(rtol=1e-3, atol=1e-4), "CPU kernels differ in summation order, about 1e-5 after a hundred layers"
    ),
    "CUDAExecutionProvider": ProviderDrift(
        RawTolerance(rtol=2e-2, atol=2e-2), "CUDA convolutions round inputs to TF32, 11 significand bits"
    ),
    "TensorrtExecutionProvider": ProviderDrift(
        RawTolerance(rtol=2e-2, atol=2e-2), "TensorRT fuses layers and may use TF32, 11 significand bits"
    ),
}

# Same machine and kernels: only blocking by batch size may differ, far below any provider's own drift.
SAME_MACHINE = RawTolerance(rtol=1e-4, atol=1e-5)


def golden_tolerance(
    *,
    score: float = 2e-3,
    box_iou: float = 0.98,
    point_px: float = 0.5,
    mask_iou: float = 0.98,
    cosine: float = 0.999,
    drift: Mapping[str, ProviderDrift] = FLOAT32_DRIFT,
    reason: str,
) -> GoldenTolerance:
    """Tolerances of a package; ``reason`` says why the decoded ones are as they are, the raw reasons are added.

    Pixels may differ by one level on one value in twenty: resize kernels round differently on other CPU families.
    """
    raw_reasons = "; ".join(dict.fromkeys(entry.reason for entry in drift.values()))
    return GoldenTolerance(
        pixel_levels=1,
        pixel_fraction=0.05,
        raw={provider: entry.tolerance for provider, entry in drift.items()},
        score=score,
        box_iou=box_iou,
        point_px=point_px,
        mask_iou=mask_iou,
        cosine=cosine,
        reason=f"{reason}; {raw_reasons}; resize kernels round differently on other CPU families",
    )
