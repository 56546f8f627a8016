"""How far raw outputs may drift on each execution provider, and why: written into every manifest with the reason."""

from __future__ import annotations

from pipelines.manifest import GoldenTolerance, RawTolerance

# float32 on the CPU. Measured on the zoo's five models: their projects' runs, and torch, differ by up to
# 2e-5. OpenCV and Pillow resize to the same bytes with and without AVX2 and IPP, `opencv_cubic` excepted.
CPU_FLOAT32 = RawTolerance(rtol=1e-3, atol=1e-4)
# CUDA and TensorRT round the inputs of convolutions and matrix products to TF32, 11 significand bits. Measured by
# rounding data and weights so on the CPU: outputs of the order of 1 move by up to 2e-2. A recipe with steep outputs
# (a sigmoid after many layers) states a larger value of its own.
TF32 = RawTolerance(rtol=2e-2, atol=2e-2)
# One float16 graph on another provider: 11 significand bits in every layer.
FLOAT16 = RawTolerance(rtol=2e-2, atol=2e-2)
# A float16 graph against the float32 model that it was made of. Measured on EfficientNet-Lite0's learnt weights on the
# CPU: logits of up to 11 move by 0.026 and probabilities by 0.0013 at its own size; on rows of a sixth of the area,
# where logits reach 36, by 0.13 and 0.014. A half more of the former and twice the latter are allowed.
HALVED = RawTolerance(rtol=2e-2, atol=0.2)
_HALVED_SCORE = 0.03
# Same machine and kernels: only blocking by batch size may differ, far below any provider's own drift.
SAME_MACHINE = RawTolerance(rtol=1e-4, atol=1e-5)


def golden_tolerance(
    *,
    score: float = 2e-3,
    box_iou: float = 0.98,
    point_px: float = 0.5,
    mask_iou: float = 0.98,
    cosine: float = 0.999,
    cpu: RawTolerance = CPU_FLOAT32,
    tf32: RawTolerance = TF32,
    reason: str,
) -> GoldenTolerance:
    """Tolerances of a float32 package; ``reason`` says why the decoded ones are as they are.

    Pixels may differ by one level on one value in twenty: that is what OpenCV's cubic kernel does between CPU families.
    """
    return GoldenTolerance(
        pixel_levels=1,
        pixel_fraction=0.05,
        raw={"CPUExecutionProvider": cpu, "CUDAExecutionProvider": tf32, "TensorrtExecutionProvider": tf32},
        score=score,
        box_iou=box_iou,
        point_px=point_px,
        mask_iou=mask_iou,
        cosine=cosine,
        reason=(
            f"{reason}; CPU kernels sum in another order; CUDA and TensorRT round to TF32 (11 significand bits); "
            "resize kernels may round differently on other CPU families"
        ),
    )


def float16_tolerance(tolerance: GoldenTolerance) -> GoldenTolerance:
    """Tolerances of a float16 graph of a model whose float32 graph has ``tolerance``."""
    return tolerance.model_copy(
        update={
            "raw": dict.fromkeys(tolerance.raw, HALVED),
            "score": max(tolerance.score, _HALVED_SCORE),
            # Sides whose exponents move by 0.026 change by 2.6 %: the two boxes overlap by 0.95.
            "box_iou": min(tolerance.box_iou, 0.9),
            "point_px": max(tolerance.point_px, 2.0),
            "mask_iou": min(tolerance.mask_iou, 0.9),
            "cosine": min(tolerance.cosine, 0.99),
            "reason": (
                f"{tolerance.reason}; float16 rounds to 11 significand bits in every layer: learnt weights of "
                "EfficientNet-Lite0 move by 0.13 of logits up to 36, and by 0.014 of a probability"
            ),
        }
    )
