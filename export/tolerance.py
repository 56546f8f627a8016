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
# float16 graphs: 11 significand bits in every layer, on every provider.
FLOAT16 = RawTolerance(rtol=2e-2, atol=2e-2)
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
