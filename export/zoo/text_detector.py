"""PP-OCRv4 text detector: lines of text as rotated boxes, from a probability map (DB, arXiv:1911.08947)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.tolerance import SAME_MACHINE, golden_tolerance
from export.zoo.recipe import DEFAULTS, BuiltGraph, Member, ZooRecipe
from pipelines.manifest import GoldenOptions, RawTolerance
from pipelines.specs import DetectionHead, ImageSpec, ProbabilityMap, StretchToMultiple

OUTPUT = "sigmoid_0.tmp_0"


def build(members: Mapping[str, Path]) -> BuiltGraph:
    """Take the graph as it is: batch, height and width are dynamic already."""
    from export.zoo.shipped import open_graph, rewrite_shipped

    model, rewrites = rewrite_shipped(members["graph"], outputs=(OUTPUT,), axes={})
    return BuiltGraph(
        model=model,
        labels=("text",),
        original=lambda: open_graph(members["graph"]),
        original_tolerance=SAME_MACHINE,
        tools={},
        rewrites=rewrites,
    )


RECIPE = ZooRecipe(
    name="text-detector",
    version=1,
    description="lines of text as rotated boxes",
    license="Apache-2.0",
    source="https://github.com/RapidAI/RapidOCR (rapidocr-onnxruntime 1.4.4), model PP-OCRv4 from PaddleOCR",
    members=(
        Member(
            key="graph",
            wheel="rapidocr-onnxruntime==1.4.4",
            path="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            size=4_745_517,
            sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        ),
    ),
    image=ImageSpec(
        # Upstream's detector scales the shorter side up to 736 without a limit. Its OCR program cuts the longer side to
        # 2000 before that; the cap here acts after it, so that a long thin strip cannot take all memory either: a row
        # of 1984 x 1984 takes 0.6 GB and 4 s on one core, 12 megapixels would take 1.8 GB and 17 s.
        fit=StretchToMultiple(
            kind="stretch_to_multiple", multiple_of=32, rounding="nearest", min_shorter=736, max_longer=2000
        ),
        resample="opencv_linear",
        color="bgr",
        exif="apply",
        alpha="white",
        layout="chw",
        dtype="float32",
        scale=255.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        in_graph=(),
    ),
    head=DetectionHead(
        task="detection",
        decoder=ProbabilityMap(
            kind="probability_map",
            output=OUTPUT,
            binarize_threshold=0.3,
            dilate=True,
            unclip_ratio=1.6,
            min_side=3,
            max_candidates=1000,
        ),
        score_threshold=0.5,
        nms=None,
        max_detections=1000,
    ),
    reference="upstream",
    samples=("page", "page-tilted"),
    options=(DEFAULTS, GoldenOptions(score_threshold=0.1, iou_threshold=None)),
    tolerance=golden_tolerance(
        score=5e-3,
        box_iou=0.85,
        point_px=2.5,
        tf32=RawTolerance(rtol=2e-2, atol=0.15),  # measured: 0.08 at the edge of a line.
        reason=(
            "upstream cuts corners to whole row pixels before it grows a box and rounds them to whole image pixels "
            "after: up to 2 pixels, measured 1.7, which is an IoU of 0.9 for a line 12 pixels high"
        ),
    ),
    extra="import",
    build=build,
)
